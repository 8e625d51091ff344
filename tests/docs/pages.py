"""Examples of the documentation: read out of the pages, and run.

A fenced block is run when the line before it is one of these comments, which nobody sees on the page:

- ``<!-- run -->``: console or Python block.  In a console block every line after ``$`` is a command; what follows is
  its standard output, where ``...`` stands for anything and line breaks do not matter.
- ``<!-- run: exit 2 -->``: the command must end with that code.
- ``<!-- file: name -->``: the block is written to that file before the next one runs.

The blocks of one page run in order, in one folder that holds what a checkout holds.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from heila_mosaik.cli import main

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "generated"} & set(path.relative_to(ROOT).parts)
    ),
)
_MARK = re.compile(r"<!--\s*(?P<kind>run|file)\s*(?::\s*(?P<what>[^>]*?))?\s*-->\s*$")
_SHELL = re.compile(r"[|&;<>`]|\$\(")
_MATCH = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        page: Page it stands on.
        line: Line of its fence.
        language: First word after the fence.
        text: What it holds.
        kind: ``run``, ``file`` or nothing.
        what: File name or expected exit.
    """

    page: Path
    line: int
    language: str
    text: str
    kind: str = ""
    what: str = ""

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    for token in MarkdownIt("commonmark").parse("\n".join(lines)):
        if token.type != "fence" or token.map is None:
            continue
        first = token.map[0]
        mark = _MARK.match(lines[first - 1].strip()) if first else None
        found.append(
            Block(
                page=page,
                line=first + 1,
                language=token.info.split()[0] if token.info.split() else "",
                text=token.content,
                kind=mark["kind"] if mark else "",
                what=(mark["what"] or "") if mark else "",
            )
        )
    return found


def spans(page: Path) -> list[str]:
    """Inline code of a page, tables included."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Commands of a console block with their expected output; heredocs and continued lines belong to the command."""
    command, output, end = "", [], ""
    for line in block.text.splitlines():
        if end or command.endswith("\\\n"):
            command += line + ("\n" if end or line.endswith("\\") else "")
            end = "" if line == end else end
        elif line.startswith("$ "):
            if command:
                yield command, "\n".join(output)
            command, output = line[2:], []
            here = re.search(r"<<\s*'?(\w+)'?", line)
            end = here[1] if here else ""
            command += "\n" if end or line.endswith("\\") else ""
        else:
            output.append(line)
    if command:
        yield command, "\n".join(output)


def workspace(folder: Path) -> Path:
    """A folder that holds what a checkout holds, where examples may add grids, scenarios and studies."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("grids", "scenarios", "studies"):
        (folder / name).mkdir()
        for path in (ROOT / name).iterdir():
            (folder / name / path.name).symlink_to(path)
    for name in ("docs", "benchmarks", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run_page(page: Path, folder: Path) -> int:
    """Run the marked blocks of a page in a workspace that is the working folder; returns how many."""
    names: dict[str, object] = {"__name__": "__example__"}
    count = 0
    for block in blocks(page):
        if block.kind == "file":
            (folder / block.what).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.what).write_text(block.text, encoding="utf-8")
        elif block.kind == "run" and block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                # Lines of the page in tracebacks.
                exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
            count += 1
        elif block.kind == "run":
            expected = int(block.what.removeprefix("exit ")) if block.what else 0
            for command, wanted in commands(block):
                _command(block, command, wanted, expected)
            count += 1
    return count


def _command(block: Block, command: str, wanted: str, expected: int) -> None:
    code, said, aside = _heila(command) if command.startswith("heila ") and not _shell(command) else _bash(command)
    assert code == expected, f"{block.where}: {command!r} ended with {code}, not {expected}:\n{said}{aside}"
    said += aside if expected else ""
    if wanted.strip():
        flat, pattern = " ".join(said.split()), " ".join(wanted.split())
        matches = doctest.OutputChecker().check_output(pattern + "\n", flat + "\n", _MATCH)
        assert matches, f"{block.where}: {command!r} said\n{said}\ninstead of\n{wanted}"


def _shell(command: str) -> bool:
    """Whether a command needs a shell; quoted text does not count."""
    return _SHELL.search(re.sub(r"'[^']*'", "", command)) is not None


def _heila(command: str) -> tuple[int, str, str]:
    """Run a command of ours in this process: starting Python again costs more than most examples."""
    said, aside = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(aside):
        try:
            main(shlex.split(command.replace("\\\n", " "), comments=True)[1:])
            code: object = 0
        except SystemExit as stopped:
            code = stopped.code
    return (code if isinstance(code, int) else 0 if code is None else 1), said.getvalue(), aside.getvalue()


def _bash(command: str) -> tuple[int, str, str]:
    shim = Path("bin")
    shim.mkdir(exist_ok=True)
    script = shim / "heila"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from heila_mosaik.cli import main; main()" "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{shim.resolve()}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr
