"""The lab: real certificates, real Exims, real clients and a real eximcertd, for tests, demo and benchmarks."""
