"""Markdown tables, units and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_UNIT = re.compile(r"\s*\[(?P<unit>[^\[\]]+)\]\.?\s*(?:\((?P<shape>[^()]*)\)\s*(?:or empty)?)?\s*$")
_SHAPE = re.compile(r"\s*\((?:[a-z]\w*,?\s*)+\)\s*$")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
_ENTRY = re.compile(r"^(?P<names>[A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (?P<text>.*)$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table; bars inside cells are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = (cell.replace("\n", " ").replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def code(value: object) -> str:
    """Value as inline code; nothing for nothing."""
    return f"`{value}`" if f"{value}" else ""


def split_unit(text: str) -> tuple[str, str]:
    """Meaning and unit of a description that ends with its unit in brackets, and with its shape in parentheses."""
    found = _UNIT.search(text)
    if found is None:
        return _SHAPE.sub("", text.strip()), ""
    return text[: found.start()].strip(), found["unit"]


def plain(text: str) -> str:
    """Docstring text as Markdown: double backquotes and roles become inline code."""
    return _ROLE.sub(r"`\1`", " ".join(text.split())).replace("``", "`")


def paragraphs(obj: object) -> str:
    """Docstring up to its first section, as Markdown."""
    doc = inspect.cleandoc(getattr(obj, "__doc__", None) or "")
    kept = re.split(r"\n\n(?:Args|Attributes|Raises|Returns|Example|Examples|Yields)[^\n]*:\n", f"\n\n{doc}\n")[0]
    return "\n\n".join(plain(part) for part in kept.strip().split("\n\n") if part.strip())


def fields_of(obj: object, section: str = "Attributes") -> dict[str, str]:
    """Entries of a section of a Google docstring by name."""
    doc = inspect.cleandoc(getattr(obj, "__doc__", None) or "")
    found = re.search(rf"(?:^|\n){section}[^\n]*:\n(?P<body>(?:    .*\n?|\n)+)", doc)
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in (found["body"] if found else "").splitlines():
        entry = _ENTRY.match(line[4:]) if line.startswith("    ") and not line.startswith("     ") else None
        if entry is not None:
            names = entry["names"].split(", ")
            entries |= dict.fromkeys(names, entry["text"])
        elif line.strip():
            for name in names:
                entries[name] += f" {line.strip()}"
    return {name: plain(text) for name, text in entries.items()}
