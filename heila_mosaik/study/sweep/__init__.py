"""Sweeps: many runs of one scenario, planned here and carried out by any number of workers."""
