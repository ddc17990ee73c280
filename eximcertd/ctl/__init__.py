"""eximcertctl: one file per verb."""
