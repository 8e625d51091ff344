"""Checks every internal link of the built site: the page exists, and so does the anchor.

``python docs/check_links.py docs/_build/html`` prints what is broken and ends with 1.  Links to other sites are not
looked at: a build needs no network.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_GENERATED = ("genindex.html", "search.html")


class _Page(HTMLParser):
    """Anchors and links of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember identities and references."""
        del tag
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append((self.getpos()[0], value))


def broken_links(root: Path) -> list[str]:
    """Every internal link of a site that leads nowhere, as ``page:line: link (reason)``."""
    pages: dict[Path, _Page] = {}
    for path in sorted(root.rglob("*.html")):
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, page in pages.items():
        if path.name in _GENERATED:
            continue
        for line, link in page.links:
            reason = _reason(path, link, pages)
            if reason:
                broken.append(f"{path.relative_to(root.resolve())}:{line}: {link} ({reason})")
    return broken


def _reason(path: Path, link: str, pages: dict[Path, _Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "no such page"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "no such anchor"
    return ""


def main() -> int:
    """Print what is broken."""
    found = broken_links(Path(sys.argv[1]))
    sys.stderr.write("".join(f"{each}\n" for each in found))
    sys.stdout.write(f"{len(found)} broken links\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
