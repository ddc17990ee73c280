"""Periodic work: expiry, renewals, forgetting, health."""
