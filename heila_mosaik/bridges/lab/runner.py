"""Running the laboratory until it is told to end: fault scripts from files, lines from standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from heila_mosaik.bridges.lab.console import Console
from heila_mosaik.bridges.lab.faults import FaultStep, fault_script, parse_fault
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.points import PointList
from heila_mosaik.errors import HeilaError, Problem, ProblemsError


class ListenError(HeilaError):
    """The laboratory cannot listen where it is told to.

    Attributes:
        host: Address.
        ports: Ports.
        why: What the system says.
    """

    exit_code = 2

    def __init__(self, host: str, ports: tuple[int, ...], why: str) -> None:
        self.host, self.ports, self.why = host, ports, why
        super().__init__(host, ports, why)

    def __str__(self) -> str:
        ports = ", ".join(map(str, self.ports))
        remedy = "end what listens there, choose another --port (0 takes a free one), or an address of this machine"
        return f"virtual laboratory: cannot listen at {self.host}, port {ports}: {self.why}\n    remedy: {remedy}"


def read_script(path: Path) -> tuple[FaultStep, ...]:
    """Read a YAML list of fault steps.

    Raises:
        ProblemsError: With every problem.
    """
    try:
        rows = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        problem = Problem(what=str(error), where=str(path), remedy="give a YAML list of fault steps")
        raise ProblemsError(f"fault script {path}", [problem]) from error
    return fault_script(rows if isinstance(rows, list) else [rows], str(path))


def collect_faults(file: Path | None, steps: Sequence[str]) -> tuple[FaultStep, ...]:
    """Steps of a file and of the command line together, in the order of their times."""
    script = [*(read_script(file) if file else ()), *(parse_fault(text, f"--fault {text}") for text in steps)]
    return tuple(sorted(script, key=lambda step: step.at_s))


async def run_lab(
    points: PointList, settings: StationSettings, script: Sequence[FaultStep], say: Callable[[str], None], for_s: float
) -> None:
    """Serve until interrupted, told to quit, or the time is over.

    Args:
        points: Point list.
        settings: Gateway.
        script: Faults.
        say: Takes sentences.
        for_s: Longest time to serve; 0 for ever. [s]

    Raises:
        ListenError: If the port is taken.
    """
    lab, ended = VirtualLab(points, settings, script=script, tell=say), asyncio.Event()
    try:
        await lab.start()
    except (OSError, TimeoutError) as error:
        ports = (settings.port,) if settings.second_port is None else (settings.port, settings.second_port)
        raise ListenError(settings.host, ports, str(error) or type(error).__name__) from error
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, ended.set)
    try:
        secure = "TLS, " if settings.server.tls else ""
        places = " and ".join(f"{settings.host}:{port}" for port in lab.ports)
        say(f"listening on {places} ({secure}{settings.backend.value})")
        reader = asyncio.create_task(_read_lines(Console(lab, say), ended))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s or None):
                await ended.wait()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    finally:
        await lab.stop()


async def _read_lines(console: Console, ended: asyncio.Event) -> None:
    """Take lines from standard input; its end leaves the laboratory running."""
    if sys.stdin is None or sys.stdin.closed:
        return
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    handle, rest = sys.stdin.fileno(), b""

    def readable() -> None:
        nonlocal rest
        data = os.read(handle, 4096)
        if not data:
            loop.remove_reader(handle)
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            queue.put_nowait(line.decode(errors="replace"))

    try:
        loop.add_reader(handle, readable)
    except (OSError, NotImplementedError, ValueError):
        return  # a regular file or /dev/null cannot be waited for
    try:
        while (line := await queue.get()) is not None:
            if not await console.line(line):
                ended.set()
    finally:
        loop.remove_reader(handle)
