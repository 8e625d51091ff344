"""The one place that reads pandapower: nets are checked, extended with microgrids and compiled for the domain."""
