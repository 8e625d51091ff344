"""``heila cycle``: the unsupervised test cycle."""

from __future__ import annotations


def cycle() -> None:
    """Run the unsupervised test cycle again and again."""
