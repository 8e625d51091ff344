"""SHACL shapes of the messages."""
