"""Let Exim relay for clients by their TLS certificate, one approval at a time."""

__version__ = "0.1.0"
