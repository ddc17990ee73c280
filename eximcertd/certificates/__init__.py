"""Fingerprint -> certificate, over a directory that others rewrite."""
