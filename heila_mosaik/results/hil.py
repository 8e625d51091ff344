"""What a run with equipment in the loop leaves under ``hil/`` of its folder, written and read.

| file | holds |
| --- | --- |
| ``hil.json`` | how it was run: speed, policy, points armed, link |
| ``points.csv`` (or ``.yaml``) | the point list |
| ``samples/`` | what the study saw at each step, by slot: enough to run it again without the equipment |
| ``steps/`` | lag, duration and missed deadline of each step |
| ``readings/`` | every value that came, with its times |
| ``events.jsonl`` | link, orders, refusals, operator, in the order they became known |
| ``audit.jsonl`` | the bridge's own chained audit |

Times ``at_s`` are seconds since the bridge was opened; simulated time stands in ``time`` as epoch seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.realtime import StepTiming
from heila_mosaik.domain.samplehold import Attribute, Sample
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.store import RunStore

FOLDER = "hil"
SAMPLES_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("time", pa.int64()),
        ("element", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("quality", pa.string()),
        ("age_s", pa.float64()),
    ]
)
STEPS_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("time", pa.int64()),
        ("at_s", pa.float64()),
        ("lag_s", pa.float64()),
        ("busy_s", pa.float64()),
        ("missed", pa.bool_()),
        ("slipped_s", pa.float64()),
    ]
)
READINGS_SCHEMA = pa.schema(
    [
        ("at_s", pa.float64()),
        ("received", pa.timestamp("us", tz="UTC")),
        ("point", pa.string()),
        ("value", pa.float64()),
        ("quality", pa.string()),
        ("cause", pa.int16()),
        ("device_time", pa.string()),
    ]
)


class HilLog:
    """Writer of the ``hil/`` part of a run folder; the store closes its tables.

    Args:
        store: Run folder being written.
        settings: How it is run, JSON-able.
    """

    def __init__(self, store: RunStore, settings: Mapping[str, Any]) -> None:
        self.folder = store.folder / FOLDER
        self.folder.mkdir(exist_ok=True)
        self._samples = store.rows(f"{FOLDER}/samples", SAMPLES_SCHEMA)
        self._steps = store.rows(f"{FOLDER}/steps", STEPS_SCHEMA, 1000)
        self._readings = store.rows(f"{FOLDER}/readings", READINGS_SCHEMA)
        self._events = (self.folder / "events.jsonl").open("a", encoding="utf-8")
        store.write_json(f"{FOLDER}/hil.json", dict(settings))

    def samples(self, step: int, now: datetime, samples: Mapping[Attribute, Sample]) -> None:
        """What the study saw at a step."""
        time = round(now.timestamp())
        for (element, quantity), one in samples.items():
            self._samples.append((step, time, element, quantity.value, one.value, one.quality.value, one.age_s))

    def step(self, timing: StepTiming, now: datetime, at_s: float) -> None:
        """What became of a step."""
        row = (timing.step, round(now.timestamp()), at_s, timing.lag_s, timing.busy_s, timing.missed, timing.slipped_s)
        self._steps.append(row)

    def reading(
        self, at_s: float, received: datetime, point: str, value: float, quality: str, cause: int, device: str | None
    ) -> None:
        """A value that came."""
        self._readings.append((at_s, received, point, value, quality, cause, device))

    def event(self, at_s: float, kind: str, **values: float | str | bool | None) -> dict[str, Any]:
        """Something worth a line; returns it."""
        line: dict[str, Any] = {"at_s": round(at_s, 6), "kind": kind, **values}
        self._events.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._events.flush()
        return line

    def close(self) -> None:
        """Close the events; before the store is."""
        self._events.close()


class HilRecord:
    """Reader of the ``hil/`` part of a run folder."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.folder = run.path / FOLDER

    @property
    def exists(self) -> bool:
        """Whether the run had equipment in the loop."""
        return (self.folder / "hil.json").is_file()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """How it was run."""
        found: dict[str, Any] = json.loads((self.folder / "hil.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def points(self) -> Path:
        """Its point list."""
        return self.folder / str(self.settings["points"])

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row a step."""
        return self._table("steps", STEPS_SCHEMA)

    @cached_property
    def readings(self) -> pd.DataFrame:
        """One row a value that came."""
        return self._table("readings", READINGS_SCHEMA)

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """Events in order; a line torn by a crash is left out."""
        path = self.folder / "events.jsonl"
        found = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def samples(self) -> list[dict[Attribute, Sample]]:
        """What the study saw, by step."""
        frame = self._table("samples", SAMPLES_SCHEMA)
        found: list[dict[Attribute, Sample]] = []
        columns = (frame[name].tolist() for name in ("step", "element", "quantity", "value", "quality", "age_s"))
        for step, element, quantity, value, quality, age_s in zip(*columns, strict=True):
            while len(found) <= step:
                found.append({})
            found[step][element, Quantity(quantity)] = Sample(value=value, quality=Quality(quality), age_s=age_s)
        return found

    def frame_of_samples(self) -> pd.DataFrame:
        """What the study saw, one column an attribute ``<element>.<quantity>``, UTC index."""
        frame = self._table("samples", SAMPLES_SCHEMA)
        frame["attribute"] = frame["element"] + "." + frame["quantity"]
        wide = frame.pivot_table(index="time", columns="attribute", values="value", aggfunc="last", dropna=False)
        wide.index = pd.DatetimeIndex(pd.to_datetime(wide.index, unit="s", utc=True), name="time")
        return wide

    def simulated(self, at_s: Sequence[float]) -> list[datetime]:
        """Simulated time at times of the run's clock."""
        steps = self.steps
        if steps.empty:
            return [datetime.fromtimestamp(0.0, UTC) for _ in at_s]
        # A row stands at the end of its step, so lag and duration lead back to its beginning.
        begins = (steps["at_s"] - steps["busy_s"]).to_numpy()
        found = np.interp(np.asarray(at_s, float), begins, steps["time"].to_numpy(float))
        return [datetime.fromtimestamp(float(value), UTC) for value in found]

    def _table(self, name: str, schema: pa.Schema) -> pd.DataFrame:
        table = self.run.arrow(f"{FOLDER}/{name}")
        frame: pd.DataFrame = (schema.empty_table() if table is None else table).to_pandas()
        return frame
