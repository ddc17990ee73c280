"""Decisions: the rules, and the one entry point for all decisions."""
