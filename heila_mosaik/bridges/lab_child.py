"""The virtual laboratory as a process of its own, for rehearsals and measurements on this machine."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from heila_mosaik.errors import HeilaError

_START_S = 60.0


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
        arguments: Further arguments of ``python -m heila_mosaik.bridges.lab``.
        log: File for what it complains about.

    Raises:
        LabNotStartedError: If it does not listen in time.
    """
    command = [sys.executable, "-m", "heila_mosaik.bridges.lab", "--port", "0", "--points", str(points), *arguments]
    errors = subprocess.DEVNULL if log is None else log.open("wb")
    # A session of its own: Ctrl-C is for the study, which lets go of the laboratory in order.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)  # noqa: S603
    try:
        yield _port(process, command)
    finally:
        process.terminate()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not isinstance(errors, int):
            errors.close()


def _port(process: subprocess.Popen[bytes], command: Sequence[str]) -> int:
    lines: queue.Queue[bytes] = queue.Queue()
    assert process.stdout is not None
    stream = process.stdout
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        told = lines.get(timeout=_START_S).decode()
    except queue.Empty:
        told = f"no word within {_START_S:g} s from {' '.join(command)}"
    port = told.strip().rpartition(":")[2]
    if not port.isdigit():
        raise LabNotStartedError(told)
    return int(port)
