"""Version of the package, read by setup.cfg and the command line."""

__version__ = "0.1.0.dev0"
