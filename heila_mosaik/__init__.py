"""Co-simulation of the HEILA platform on mosaik."""

from heila_mosaik._version import __version__

__all__ = ["__version__"]
