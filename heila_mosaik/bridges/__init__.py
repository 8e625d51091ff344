"""Wires: everything that leaves the process, behind the ``Endpoint`` protocol."""
