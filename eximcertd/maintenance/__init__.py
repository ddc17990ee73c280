"""What time brings: expiry, renewals, forgetting, health."""
