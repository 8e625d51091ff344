"""Sphinx extension: writes the reference pages from the code and lists topic pages by group.

Nothing that is generated is kept in the repository: the pages under ``reference/generated`` are written when a build
begins, so they say what the code says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MemberDescriptorType
from typing import Any

from reference import cli, errors, messages, schema, simulators

PAGES: dict[str, Callable[[], str]] = {
    "scenario": schema.scenario_page,
    "microgrids": schema.microgrids_page,
    "sweep-file": schema.sweep_page,
    "site-file": schema.site_page,
    "point-list": schema.points_page,
    "simulators": simulators.page,
    "information-objects": messages.page,
    "cli": cli.page,
    "errors": errors.page,
}


def write_pages(folder: Path) -> list[Path]:
    """Write every generated page into a folder; a page that has not changed is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in PAGES}:
        stale.unlink()
    written = []
    for name, make in PAGES.items():
        path, text = folder / f"{name}.md", make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def topics(folder: Path, groups: dict[str, tuple[str, ...]], elsewhere: tuple[str, ...]) -> str:
    """Tables of contents of the topic pages that exist, by group; pages of no group come last.

    Args:
        folder: Folder of the pages.
        groups: Pages by caption.
        elsewhere: Pages that another table of contents lists.
    """
    present = {path.stem for path in folder.glob("*.md")} - set(elsewhere)
    grouped = {caption: [page for page in pages if page in present] for caption, pages in groups.items()}
    known = {page for pages in groups.values() for page in pages}
    grouped["More"] = sorted(present - known)
    return "\n".join(
        f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n" + "\n".join(pages) + "\n```\n"
        for caption, pages in grouped.items()
        if pages
    )


def _generate(app: Any) -> None:
    write_pages(Path(app.srcdir) / "reference" / "generated")


def _list_topics(app: Any, docname: str, source: list[str]) -> None:
    if docname == app.config.root_doc:
        found = topics(Path(app.srcdir), app.config.topic_groups, app.config.topics_elsewhere)
        source[0] = source[0].replace("<!-- topics -->", found)


def _skip_slots(_app: Any, _what: str, _name: str, obj: object, _skip: bool, _options: Any) -> bool | None:
    """Fields of a slotted dataclass stand in its docstring; autodoc would list them once more without a word."""
    return True if isinstance(obj, MemberDescriptorType) or "SLOTSATTR" in repr(obj).upper() else None


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("topic_groups", {}, "env")
    app.add_config_value("topics_elsewhere", (), "env")
    app.connect("builder-inited", _generate)
    app.connect("source-read", _list_topics)
    app.connect("autodoc-skip-member", _skip_slots)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
