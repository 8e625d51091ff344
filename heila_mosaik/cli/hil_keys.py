"""Keys of the operator while a run goes: read in a thread of their own, so that the emergency stop never waits."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from heila_mosaik.study.hil_session import Session

HELP = "[e] or [space] EMERGENCY STOP   [d] disarm   [a] arm   [r] reset the emergency stop   [q] end the run"


def actions(session: Session) -> Mapping[str, Callable[[], None]]:
    """What each key does."""
    return {
        "e": session.emergency_stop,
        " ": session.emergency_stop,
        "d": session.disarm,
        "a": session.arm,
        "r": session.reset,
        "q": lambda: os.kill(os.getpid(), signal.SIGINT),
    }


@contextmanager
def keys(session: Session) -> Iterator[None]:
    """Listen to the keyboard; does nothing where there is none."""
    if not sys.stdin.isatty():
        yield
        return
    try:
        import termios  # noqa: PLC0415 - POSIX only
        import tty  # noqa: PLC0415
    except ImportError:
        yield
        return
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    done = threading.Event()
    threading.Thread(target=_listen, args=(file, actions(session), done), name="keys", daemon=True).start()
    tty.setcbreak(file)
    try:
        yield
    finally:
        done.set()
        with contextlib.suppress(termios.error):
            termios.tcsetattr(file, termios.TCSADRAIN, before)


def _listen(file: int, known: Mapping[str, Callable[[], None]], done: threading.Event) -> None:
    while not done.is_set():
        try:
            pressed = os.read(file, 1).decode(errors="ignore").lower()
        except OSError:
            return
        action = known.get(pressed)
        if action is not None and not done.is_set():
            action()
