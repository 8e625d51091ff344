"""Ctrl-C in a run.

mosaik ends a run quietly on ``KeyboardInterrupt``, so that a run cut short would look like a whole one.  Here the
signal only sets a flag; the run stops between two steps, and the caller sees the interrupt.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

Tick = Callable[[datetime], None]
Stoppable = Callable[[datetime | None], None]
"""A tick that also stops the run; ``None`` only looks whether to stop."""


class _Stopped(Exception):  # noqa: N818 - no error
    """Leaves the simulation between two steps."""


@contextmanager
def interruptible(tick: Tick | None) -> Iterator[Stoppable]:
    """Give a tick that stops the run after Ctrl-C; a second Ctrl-C does not wait for the step to end.

    Args:
        tick: Called after each step.

    Raises:
        KeyboardInterrupt: After the run was stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda now: tick(now) if tick is not None and now is not None else None  # signals reach the main only
        return
    asked = False
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    def stopping(now: datetime | None) -> None:
        if tick is not None and now is not None:
            tick(now)
        if asked:
            raise _Stopped

    signal.signal(signal.SIGINT, ask)
    try:
        yield stopping
    except _Stopped:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
