"""Brings an actor back to the state its store says it had.

The state is the latest snapshot and the steps of the journal after it, taken again: an actor is deterministic, so the
same inputs give the same answers, which the journal's digests prove.  A snapshot is only a shortcut; one that another
version made is passed over as long as the journal reaches back to the first step.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from heila_mosaik._version import __version__
from heila_mosaik.actors.base import Actor
from heila_mosaik.bridges.store import Store, StoreMismatchError, digest_of

_OTHERS = frozenset(
    [
        *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(f"builtins.{name}" for name in ("set", "frozenset", "slice", "range", "bytearray")),
        *(f"collections.{name}" for name in ("Counter", "OrderedDict", "defaultdict", "deque")),
        "zoneinfo.ZoneInfo",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        "numpy.random._pcg64.PCG64",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random.bit_generator.SeedSequence",
        "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
    ]
)
"""What the state of an actor is made of besides our own classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """An actor as it was.

    Attributes:
        actor: The actor.
        step: Number of its last step.
        now: Time of its last step; ``None`` before the first.
        wake_at: When it asked to be called.
        replayed: How many steps were taken again.
    """

    actor: Actor
    step: int
    now: datetime | None
    wake_at: datetime | None
    replayed: int


class _OwnState(pickle.Unpickler):
    """Reads our own snapshots only: a file somebody put in their place cannot name other code."""

    def find_class(self, module: str, name: str) -> Any:
        if not module.startswith("heila_mosaik.") and f"{module}.{name}" not in _OTHERS:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into a snapshot")
        return super().find_class(module, name)


def version_of(actor: Actor) -> str:
    """What a snapshot depends on."""
    return f"heila-mosaik {__version__} {type(actor).__module__}.{type(actor).__qualname__}"


def take_snapshot(actor: Actor) -> bytes | None:
    """State of an actor; ``None`` if it holds what cannot be written or read back (a compiled grid, a function)."""
    try:
        state = pickle.dumps(actor, protocol=4)  # 5 would need numpy's buffer reader
        _read(state)
    except (pickle.PickleError, TypeError, AttributeError):
        return None
    return state


def _read(state: bytes) -> Actor:
    actor: Actor = _OwnState(io.BytesIO(state)).load()
    return actor


def recover(actor: Actor, store: Store) -> Recovered:
    """State of ``actor`` after the last step in its store.

    Args:
        actor: Fresh actor with the same settings.
        store: Its store.

    Raises:
        StoreMismatchError: If the journal does not lead there or comes out differently.
    """
    base, found = 0, store.snapshot()
    if found is not None and found[1] == version_of(actor):
        base, actor = found[0], _read(found[2])
    elif store.last_step() and store.first_step() != 1:
        made_by = found[1] if found else "nobody"
        what = f"its snapshot is of {made_by}, and the journal no longer reaches back to the first step"
        raise StoreMismatchError(store.path, what, "run that version, or take a new folder")
    now: datetime | None = None
    number = base
    for step in store.steps(base):
        outcome = actor.step(step.now, [each.message for each in step.inbox], step.measurements)
        number, now = step.number, step.now
        if digest_of(outcome) != step.digest:
            raise StoreMismatchError(store.path, f"step {number} at {now.isoformat()} comes out differently now",
                                     "run the version and settings that wrote it, or take a new folder")  # fmt: skip
    last = store.last_step()
    if number != last:
        raise StoreMismatchError(store.path, f"journal ends at step {number} instead of {last}", "take a new folder")
    return Recovered(actor=actor, step=last, now=now or store.now_of(last), wake_at=store.wake_at(),
                     replayed=last - base)  # fmt: skip
