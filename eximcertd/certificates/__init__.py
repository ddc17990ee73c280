"""Fingerprint -> certificate, over a directory that other programs rewrite."""
