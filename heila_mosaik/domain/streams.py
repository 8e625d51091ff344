"""Named random streams: every entity draws from its own, so that adding one changes no other."""

from __future__ import annotations

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Random generator of a named entity.

    Args:
        seed: Seed of the study.
        name: Name of the entity, unique in the study.
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=tuple(name.encode())))
