"""Certificate authorities that were approved, and the certificates that they have signed."""
