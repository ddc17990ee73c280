"""Publication: making Exim honour the decisions."""
