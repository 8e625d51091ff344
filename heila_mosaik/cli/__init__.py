"""Command line ``heila``."""

from heila_mosaik.cli.app import app, main

__all__ = ["app", "main"]
