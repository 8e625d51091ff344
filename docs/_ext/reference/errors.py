"""Page of the errors a user may meet, from their classes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import heila_mosaik
from heila_mosaik.errors import HeilaError
from reference.text import paragraphs, table

_HEAD = """# Errors

Every mistake has a class of its own, whose text says what is wrong, where, and what to do. All of them are
`heila_mosaik.errors.HeilaError`; problems of one input are collected and raised together as `ProblemsError`, a list of
`Problem` with `what`, `where` and `remedy`. The command line prints the text and ends with the exit code.

"""


def page() -> str:
    """The page."""
    rows = [
        (f"`{cls.__name__}`", f"`{cls.__module__}`", str(cls.exit_code), paragraphs(cls).split("\n\n")[0])
        for cls in errors()
    ]
    return _HEAD + table(("error", "module", "exit code", "when"), rows)


def errors() -> list[type[HeilaError]]:
    """Every error class of the package, by name."""
    for found in pkgutil.walk_packages(heila_mosaik.__path__, "heila_mosaik."):
        if "c104" not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    return sorted(set(_below(HeilaError)), key=lambda cls: (cls.__name__, cls.__module__))


def _below(cls: type[HeilaError]) -> Iterator[type[HeilaError]]:
    for each in cls.__subclasses__():
        if each.__module__.startswith("heila_mosaik."):
            yield each
        yield from _below(each)
