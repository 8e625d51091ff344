"""The virtual laboratory as a process of its own, for rehearsals and measurements on this machine."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heila_mosaik.errors import HeilaError

_START_S = 60.0
_LISTENING = re.compile(r"listening on \S+?:(\d+)")
_LAB = "import sys; from heila_mosaik.cli import main; main(['lab', *sys.argv[1:]])"


class LabNotStartedError(HeilaError):
    """The virtual laboratory did not come up."""

    def __init__(self, told: str) -> None:
        self.told = told
        super().__init__(f"the virtual laboratory did not start: {told.strip() or 'it said nothing'}")


@contextmanager
def virtual_lab(points: Path, *arguments: str, log: Path | None = None) -> Iterator[int]:
    """Run the laboratory on a free port of the loopback; yields the port.

    Args:
        points: Point list.
        arguments: Further arguments of ``heila lab``.
        log: File for what it says and complains about.

    Raises:
        LabNotStartedError: If it does not listen in time.
    """
    command = [sys.executable, "-c", _LAB, "--port", "0", "--points", str(points), *arguments]
    # A session of its own: Ctrl-C is for the study, which lets go of the laboratory in order.
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield _port(process, log)
    finally:
        process.terminate()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path | None) -> int:
    lines: queue.Queue[str | None] = queue.Queue(100)
    threading.Thread(target=_drain, args=(process, log, lines), name="lab", daemon=True).start()
    told: list[str] = []
    while True:
        try:
            line = lines.get(timeout=_START_S)
        except queue.Empty:
            line = None
        if line is None:
            raise LabNotStartedError("".join(told))
        told.append(line)
        found = _LISTENING.search(line)
        if found is not None:
            return int(found[1])


def _drain(process: subprocess.Popen[bytes], log: Path | None, lines: queue.Queue[str | None]) -> None:
    """Read everything: a full pipe would stop the laboratory."""
    assert process.stdout is not None
    with process.stdout as stream, (log or Path(os.devnull)).open("ab") as copy:
        for raw in stream:
            copy.write(raw)
            copy.flush()
            _offer(lines, raw.decode(errors="replace"))
    _offer(lines, None)


def _offer(lines: queue.Queue[str | None], line: str | None) -> None:
    """Nobody listens any more once the port is known."""
    with contextlib.suppress(queue.Full):
        lines.put_nowait(line)
