"""Errors a user may meet.

Every mistake has its own class with fields and a ``__str__`` that says *what* is wrong, *where*, and
*what to do*.  Problems of one kind are collected and raised together as :class:`ProblemsError`.
The command line prints the text and leaves with ``exit_code``; ``--debug`` shows the traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class HeilaError(Exception):
    """Base of all errors that are somebody's mistake or the outside world's, not a bug of ours."""

    exit_code: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with an input.

    Attributes:
        what: The mistake in one sentence.
        where: File with line, element (``load 12``) or field (``market.gate``).
        remedy: What to do about it.
    """

    what: str
    where: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    remedy: {self.remedy}"


class ProblemsError(HeilaError):
    """All problems found in one input, raised together.

    Attributes:
        subject: What was checked, for example ``scenario scenarios/congestion_day.yaml``.
        problems: Every problem found, in the order of the input.
    """

    exit_code = 2

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(subject, self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{self.subject}: {count} problem{'s' if count != 1 else ''}"
        return "\n".join([head, *(f"  {number}. {problem}" for number, problem in enumerate(self.problems, 1))])
