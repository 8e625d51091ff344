"""Schema of a sweep file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Runs = Annotated[int, Field(ge=1, le=1_000_000)]


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Span(Part):
    """A range of numbers."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")
    steps: int | None = Field(default=None, ge=2, le=10_000, description="Values from low to high, for grid and zip.")
    log: bool = Field(default=False, description="Even in the logarithm.")
    integer: bool = Field(default=False, description="Rounded to whole numbers.")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0.0:
            raise ValueError(f"a logarithmic range starts above 0, not at {self.low:g}")
        return self


class Block(Part):
    """One way to vary scenario keys; the blocks of a sweep are crossed with each other."""

    method: Literal["grid", "zip", "list", "lhs", "sobol"] = Field(
        description="grid: every combination; zip: first with first, second with second; list: the points as they "
        "stand; lhs: Latin hypercube; sobol: Saltelli's sample for Sobol indices."
    )
    keys: dict[str, Span | list[Any]] = Field(
        default_factory=dict, description="Values, or a range, by dotted scenario key, for example growth.der."
    )
    points: list[dict[str, Any]] = Field(default_factory=list, description="Points of list: dotted key and value.")
    samples: _Runs | None = Field(default=None, description="Points of lhs; base sample of sobol, a power of two.")
    second_order: bool = Field(default=False, description="sobol: also second-order indices, about twice the runs.")
    seed: int = Field(default=0, ge=0, description="Seed of the sample, not of the runs.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.method == "list":
            if not self.points or self.keys:
                raise ValueError("list takes points, and no keys")
            return self
        if self.points or not self.keys:
            raise ValueError(f"{self.method} takes keys, and no points")
        problems = list(self._sampled() if self.method in ("lhs", "sobol") else self._counted())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _sampled(self) -> list[str]:
        found = [] if self.samples is not None else [f"{self.method} needs samples"]
        if self.method == "sobol" and self.samples is not None and self.samples & (self.samples - 1):
            found.append(f"samples {self.samples} is no power of two")
        return found

    def _counted(self) -> list[str]:
        open_ends = [key for key, values in self.keys.items() if isinstance(values, Span) and values.steps is None]
        found = [f"{key}: a range needs steps here" for key in open_ends]
        found += [f"{key}: no values" for key, values in self.keys.items() if isinstance(values, list) and not values]
        if self.method == "zip" and not open_ends:
            counts = {key: v.steps if isinstance(v, Span) else len(v) for key, v in self.keys.items()}
            if len(set(counts.values())) > 1:
                found.append(
                    "zip needs as many values of each key: " + ", ".join(f"{k} {n}" for k, n in counts.items())
                )
        return found


class Analysis(Part):
    """One part of the study's report."""

    kind: Literal["hosting", "sobol", "tornado", "pareto", "heatmap", "curve", "cost"] = Field(
        description="What is drawn: hosting capacity, Sobol indices, tornado, Pareto front, heat map, curve, "
        "flexibility against reinforcement."
    )
    title: str = Field(default="", description="Heading.")
    text: str = Field(default="", description="What the reader should know.")
    x: str = Field(default="", description="Varied key or figure on the x axis.")
    y: str = Field(default="", description="Varied key or figure on the y axis.")
    figure: str = Field(default="congested_minutes", description="Key figure, dotted as in kpis.json.")
    group: str = Field(default="", description="Varied key that separates curves.")
    limit: float = Field(default=0.0, description="hosting: the figure's largest acceptable value.")
    per_year: float = Field(default=1.0, gt=0.0, description="cost: days like this in a year.")


class SweepFile(Part):
    """A sweep: one scenario, what is varied, how often, and what is made of the results."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80, description="Short name of the study.")
    description: str = Field(default="", description="What the study shows, for its report.")
    scenario: str = Field(description="Scenario file, relative to this file.")
    set: dict[str, Any] = Field(default_factory=dict, description="Values by dotted key that hold for every run.")
    vary: list[Block] = Field(default_factory=list, description="Blocks, crossed with each other.")
    seeds: list[int] | None = Field(
        default=None,
        min_length=1,
        description="The same seeds at every point, so that points can be compared in pairs.",
    )
    repetitions: int = Field(
        default=1, ge=1, le=100_000, description="Independent repetitions of every point, each with a seed of its own."
    )
    baseline: bool = Field(default=False, description="Whether every run also runs its day without trade.")
    retries: int = Field(
        default=2, ge=0, le=20, description="Further attempts at a run that failed or lost its worker."
    )
    keep: Literal["none", "failed", "all"] = Field(
        default="failed", description="Whose run folders are kept under runs/; the workers must see the study folder."
    )
    analysis: list[Analysis] = Field(default_factory=list, description="Parts of the report.")
    full: dict[str, Any] = Field(
        default_factory=dict, description="Keys of this file that heila sweep --full replaces, for the full study."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.seeds is not None and self.repetitions > 1:
            raise ValueError("give seeds (the same at every point) or repetitions (others at every point), not both")
        varied = [
            key for block in self.vary for key in [*block.keys, *dict.fromkeys(k for p in block.points for k in p)]
        ]
        twice = sorted({key for key in varied if varied.count(key) > 1} | (set(varied) & set(self.set)))
        if twice:
            raise ValueError(f"given more than once: {', '.join(twice)}")
        if self.seeds is not None and "seed" in varied:
            raise ValueError("seed is varied and given by seeds")
        return self
