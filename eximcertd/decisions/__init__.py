"""Decisions: the rules, and the one way into the ledger."""
