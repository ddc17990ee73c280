"""The Exim program: its settings, how it is run, its daemons."""
