"""Manifest of a run folder: what ran, with which versions, how it ended, and a checksum of every data file."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from heila_mosaik._version import __version__
from heila_mosaik.errors import HeilaError

_PACKAGES = ("mosaik", "mosaik-api-v3", "pandapower", "numpy", "scipy", "numba", "pandas", "pyarrow", "clarabel")


class NotARunError(HeilaError):
    """A folder that holds no run."""

    exit_code = 2

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder, self.reason = folder, reason
        super().__init__(f"{folder}: {reason}; give the folder that 'heila run' printed")


@dataclass(slots=True, kw_only=True)
class Manifest:
    """Contents of ``manifest.json``.

    Attributes:
        name: Study.
        seed: Seed.
        status: ``running``, ``complete`` or ``incomplete``.
        reason: Why it is incomplete.
        started_at: Wall-clock start, ISO 8601 UTC.
        finished_at: Wall-clock end, empty while running.
        wall_s: Wall-clock time taken. [s]
        host: Machine it ran on.
        pid: Process that runs it.
        versions: Packages and Python.
        provenance: Further facts told by the study.
        files: SHA-256 of every data file by its path in the folder.
    """

    name: str
    seed: int
    status: str = "running"
    reason: str = ""
    started_at: str
    finished_at: str = ""
    wall_s: float = 0.0
    host: str = ""
    pid: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, *, name: str, seed: int, provenance: dict[str, Any]) -> Self:
        """Manifest of a run that starts now."""
        return cls(
            name=name,
            seed=seed,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
            pid=os.getpid(),
            versions=dict(_versions()),
            provenance=provenance,
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Manifest of a run folder.

        Raises:
            NotARunError: If there is none or it cannot be understood.
        """
        path = folder / "manifest.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise NotARunError(folder, "no manifest.json here") from error
        except (OSError, ValueError, TypeError) as error:
            raise NotARunError(folder, f"manifest.json cannot be read ({error})") from error

    def add_file(self, path: Path, folder: Path) -> None:
        """Note the checksum of a finished data file."""
        self.files[path.relative_to(folder).as_posix()] = checksum(path)

    def write(self, folder: Path) -> None:
        """Write the manifest at once."""
        draft = folder / ".manifest.json.tmp"
        draft.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(folder / "manifest.json")

    def end(self, folder: Path, status: str, reason: str) -> None:
        """Close the manifest of a run that ends now."""
        now = datetime.now(UTC)
        self.status, self.reason = status, reason
        self.finished_at = now.isoformat(timespec="seconds")
        self.wall_s = round((now - datetime.fromisoformat(self.started_at)).total_seconds(), 3)
        for name in ("scenario.resolved.yaml", "log.jsonl", "grid.json", "kpis.json"):
            if (folder / name).is_file():
                self.add_file(folder / name, folder)
        self.files = dict(sorted(self.files.items()))
        self.write(folder)

    def state(self) -> str:
        """Status; a run whose process is gone is ``incomplete`` whatever it last wrote."""
        if self.status != "running" or self.host != socket.gethostname():
            return self.status
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return "incomplete"
        except PermissionError:
            return "running"
        return "running"


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"heila-mosaik": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
