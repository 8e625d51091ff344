"""Reader of a run folder; a run that was killed reads as far as its finished parts go."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from heila_mosaik.results.manifest import Manifest, checksum
from heila_mosaik.results.store import MESSAGES_SCHEMA, RECORDS_SCHEMA


class RunFolder:
    """A run on disk.

    Raises:
        NotARunError: If the folder holds no run.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)

    @property
    def status(self) -> str:
        """``running``, ``complete`` or ``incomplete``."""
        return self.manifest.state()

    @cached_property
    def grid(self) -> dict[str, Any]:
        """Description of the grid, empty if the run ended before it was written."""
        return self._json("grid.json")

    @cached_property
    def kpis(self) -> dict[str, Any]:
        """Key figures, empty if none were written."""
        return self._json("kpis.json")

    @cached_property
    def scenario_yaml(self) -> str:
        """Resolved scenario."""
        path = self.path / "scenario.resolved.yaml"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """Settings of the resolved scenario, empty if it was not written."""
        found: dict[str, Any] = YAML(typ="safe", pure=True).load(self.scenario_yaml) or {}
        return found

    @cached_property
    def baseline(self) -> RunFolder | None:
        """Run of the same study without flexibility, if one was made."""
        folder = self.path / "baseline"
        return RunFolder(folder) if (folder / "manifest.json").is_file() else None

    def tables(self) -> tuple[str, ...]:
        """Names of the series tables present."""
        place = self.path / "series"
        return tuple(sorted(p.name for p in place.iterdir() if p.is_dir())) if place.is_dir() else ()

    def arrow(self, folder: str) -> pa.Table | None:
        """All finished parts of ``series/<table>``, ``messages`` or ``records`` as one Arrow table."""
        parts = sorted((self.path / folder).glob("part-*.parquet"))
        return pa.concat_tables([pq.ParquetFile(part).read() for part in parts]) if parts else None

    def series(self, name: str) -> pd.DataFrame:
        """Series table with a UTC time index; empty if the table was not recorded."""
        table = self.arrow(f"series/{name}")
        if table is None:
            return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC", name="time"))
        frame: pd.DataFrame = table.to_pandas()
        times = pd.to_datetime(frame.pop("time"), unit="s", utc=True)
        frame.index = pd.DatetimeIndex(times, name="time")
        return frame

    @cached_property
    def messages(self) -> pd.DataFrame:
        """Every message with its fate, second copies as rows of status ``repeated``; ``body`` is JSON text."""
        table = self.arrow("messages")
        frame: pd.DataFrame = (MESSAGES_SCHEMA.empty_table() if table is None else table).to_pandas()
        return frame

    @cached_property
    def records(self) -> pd.DataFrame:
        """Every record of an actor; ``values`` is JSON text."""
        table = self.arrow("records")
        frame: pd.DataFrame = (RECORDS_SCHEMA.empty_table() if table is None else table).to_pandas()
        return frame

    def bodies(self, kind: str, *, once: bool = True) -> list[dict[str, Any]]:
        """Bodies of all messages of one kind; an object sent to several receivers counts once by default."""
        rows = self.messages[self.messages["kind"] == kind]
        found = [json.loads(body) for body in rows["body"]]
        return list({body["id"]: body for body in found}.values()) if once else found

    def damaged(self) -> tuple[str, ...]:
        """Data files whose checksum differs from the manifest's, or that are gone."""
        files = self.manifest.files.items()
        return tuple(n for n, sha in files if not (self.path / n).is_file() or checksum(self.path / n) != sha)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found
