"""Run the virtual laboratory on its own: ``python -m heila_mosaik.bridges.lab --port 2404``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from heila_mosaik.bridges.lab.faults import FaultStep, fault_script
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.point_files import example_points, load_points
from heila_mosaik.errors import HeilaError, Problem, ProblemsError


def read_script(path: Path) -> tuple[FaultStep, ...]:
    """Read a YAML list of fault steps.

    Raises:
        ProblemsError: With every problem.
    """
    try:
        rows = YAML(typ="safe").load(path)
    except (OSError, YAMLError) as error:
        problem = Problem(what=str(error), where=str(path), remedy="give a YAML list of fault steps")
        raise ProblemsError(f"fault script {path}", [problem]) from error
    return fault_script(rows if isinstance(rows, list) else [rows], str(path))


async def _run(arguments: argparse.Namespace) -> None:
    points = load_points(arguments.points) if arguments.points else example_points()
    script = read_script(arguments.faults) if arguments.faults else ()
    settings = StationSettings(host=arguments.host, port=arguments.port)
    async with VirtualLab(points, settings, script=script) as lab:
        sys.stdout.write(f"listening on {arguments.host}:{lab.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> int:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(description="Virtual laboratory: COM600 with a REF615 and a feeder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=2404, help="TCP port, 0 for a free one")
    parser.add_argument("--points", type=Path, help="point list, by default the example")
    parser.add_argument("--faults", type=Path, help="YAML list of at_s, fault, for_s, size")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(arguments))
    except HeilaError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
