"""Two runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure or setting in both runs; ``None`` where a run does not have it."""

    key: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """Second minus first, for numbers."""
        if isinstance(self.first, int | float) and isinstance(self.second, int | float):
            return self.second - self.first
        return None


def compare(first: RunFolder, second: RunFolder) -> dict[str, list[Difference]]:
    """Differences between two runs: ``settings`` that differ and all ``figures``."""
    settings = _pairs(_lines(first.scenario_yaml), _lines(second.scenario_yaml))
    figures = _pairs(flat(compute_kpis(first)), flat(compute_kpis(second)))
    return {"settings": [each for each in settings if each.first != each.second], "figures": figures}


def _pairs(first: dict[str, Any], second: dict[str, Any]) -> list[Difference]:
    keys = list(dict.fromkeys([*first, *second]))
    return [Difference(key=key, first=first.get(key), second=second.get(key)) for key in keys]


def flat(figures: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Figures of nested mappings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in figures.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _lines(text: str) -> dict[str, str]:
    """Settings of a resolved scenario by dotted key: block mappings of two levels and lists, as the loader writes."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        body = line.strip()
        if body.startswith("- "):
            key = ".".join(name for _, name in path)
            found[key] = f"{found.get(key, '')} {body[2:]}".strip()
            continue
        name, colon, value = body.partition(":")
        if not colon:
            continue
        path = [part for part in path if part[0] < indent]
        path.append((indent, name))
        if value.strip():
            found[".".join(part for _, part in path)] = value.strip()
    return found
