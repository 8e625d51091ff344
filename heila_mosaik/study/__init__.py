"""Scenario files in, runs out: schema, loader, wiring, running."""
