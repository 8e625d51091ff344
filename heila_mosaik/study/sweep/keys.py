"""Identity of a run: what its result depends on."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from heila_mosaik._version import __version__

_PACKAGE = Path(__file__).resolve().parents[2]
_WITHOUT_EFFECT = ("cli", "bridges/lab")
_SUFFIXES = (".py", ".ttl", ".csv", ".yaml")
_NUMERICS = (
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "pyarrow",
    "pandapower",
    "mosaik",
    "mosaik-api-v3",
    "clarabel",
    "highspy",
)


@lru_cache(maxsize=1)
def code_version() -> str:
    """Version of the code a run passes through: the package's own files and the numerical packages it stands on."""
    digest = hashlib.sha256(f"{__version__} {platform.python_version()}".encode())
    for path in sorted(_PACKAGE.rglob("*")):
        name = path.relative_to(_PACKAGE).as_posix()
        if path.suffix in _SUFFIXES and not name.startswith(_WITHOUT_EFFECT):
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for package in _NUMERICS:
        try:
            digest.update(f"{package}={version(package)}".encode())
        except PackageNotFoundError:
            continue
    return f"{__version__}+{digest.hexdigest()[:16]}"


def run_key(resolved: Mapping[str, Any], data: Mapping[str, str], *, baseline: bool, code: str) -> str:
    """Key of a run: SHA-256 over its resolved scenario, the code and the data it reads.

    Args:
        resolved: Resolved scenario, JSON-able.
        data: SHA-256 of every data file by name.
        baseline: Whether the day without trade is part of it.
        code: Code version.
    """
    text = json.dumps([code, dict(data), baseline, resolved], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
