"""Carrying a publication through until Exim honours it."""
