"""Acts: the decisions of a fleet of relays, and how they and a relay's own decisions give one status. Pure."""
