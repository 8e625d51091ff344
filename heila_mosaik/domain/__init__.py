"""Decisions: pure functions on numbers. No mosaik, pandas, clock, thread, file, socket or global random."""
