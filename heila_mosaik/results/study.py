"""Reader of a study folder: results of all its runs as one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from heila_mosaik.errors import HeilaError
from heila_mosaik.results.sweepstore import PLAN, RESULTS, SOURCE, TIMINGS, NotAStudyError, read_journal


class UnknownColumnError(HeilaError):
    """A figure or key that the study does not have."""

    exit_code = 2

    def __init__(self, name: str, near: Sequence[str]) -> None:
        self.name, self.near = name, tuple(near)
        hint = f"did you mean {', '.join(near)}?" if near else "heila results columns lists all"
        super().__init__(f"the study has no column {name!r}; {hint}")


class QueryError(HeilaError):
    """A query that DuckDB refuses."""

    exit_code = 2

    def __init__(self, query: str, reason: str) -> None:
        self.query, self.reason = query, reason
        super().__init__(
            f"query {query!r}: {reason}\n    remedy: the tables are runs, plan and timings; "
            'names with dots stand in double quotes, for example "growth.der"'
        )


class Study:
    """A study on disk.

    Args:
        path: Study folder.

    Raises:
        NotAStudyError: If the folder holds none.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / SOURCE).is_file():
            raise NotAStudyError(self.path, f"no {SOURCE} here")
        self.source: dict[str, Any] = json.loads((self.path / SOURCE).read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self.source["sweep"]["name"])

    @property
    def varied(self) -> tuple[str, ...]:
        """Scenario keys that differ between runs."""
        return tuple(self.source["varied"])

    @cached_property
    def _frame(self) -> pd.DataFrame:
        parts = sorted((self.path / RESULTS).glob("part-*.parquet"))
        if not parts:
            raise NotAStudyError(self.path, "no results yet, the sweep has not come that far")
        frame: pd.DataFrame = pd.concat([pq.ParquetFile(part).read().to_pandas() for part in parts], ignore_index=True)
        return frame

    def frame(self) -> pd.DataFrame:
        """One row a run that is done, in the order of the plan: key, varied keys, seed, key figures."""
        return self._frame.copy()

    def plan(self) -> pd.DataFrame:
        """One row a run, done or not."""
        frame: pd.DataFrame = pq.ParquetFile(self.path / PLAN).read().to_pandas()
        return frame

    def timings(self) -> pd.DataFrame:
        """Status, attempts, worker and wall-clock time of each run that came to an end."""
        frame: pd.DataFrame = pq.ParquetFile(self.path / TIMINGS).read().to_pandas()
        return frame

    def failures(self) -> dict[str, str]:
        """Cause of each run that was given up, by key."""
        planned = set(self.plan()["key"])
        entries = read_journal(self.path)
        return {key: e.cause for key, e in entries.items() if e.status == "failed" and key in planned}

    def column(self, name: str) -> pd.Series:
        """A varied key or figure.

        Raises:
            UnknownColumnError: If the study does not have it.
        """
        if name not in self._frame.columns:
            from difflib import get_close_matches  # noqa: PLC0415

            raise UnknownColumnError(name, get_close_matches(name, self._frame.columns, n=3))
        found: pd.Series = self._frame[name]
        return found

    def sql(self, query: str) -> pd.DataFrame:
        """Answer of DuckDB over the tables ``runs``, ``plan`` and ``timings``.

        The query sees these files alone: no other file, no network.

        Raises:
            QueryError: If the query cannot be answered.
        """
        import duckdb  # noqa: PLC0415 - extra 'study'

        connection = duckdb.connect(":memory:")
        try:
            tables = {"runs": self._frame, "plan": self.plan(), "timings": self.timings()}
            for name, frame in tables.items():
                connection.register(name, frame)
            connection.execute("SET enable_external_access = false")
            answer = connection.execute(query).df()
        except duckdb.Error as error:
            raise QueryError(query, str(error).splitlines()[0]) from error
        finally:
            connection.close()
        return pd.DataFrame(answer)
