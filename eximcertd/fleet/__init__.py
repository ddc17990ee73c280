"""The fleet: eximcertd-fleet, which brings acts to a relay and reports from it, and what people need to decide."""
