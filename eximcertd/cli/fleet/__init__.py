"""``eximcertctl fleet``."""
