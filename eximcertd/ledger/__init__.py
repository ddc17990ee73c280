"""What was seen and what was decided."""
