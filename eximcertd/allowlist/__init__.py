"""What follows from the decisions, and the forms it is written in."""
