"""Why does a power flow diverge?  Save the case and name the likeliest elements."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp

from heila_mosaik.domain.network import GridInput
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.ladder import run_pandapower
from heila_mosaik.gridmodel.tables import write_input

_HALVINGS = 12
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Findings about a power flow that diverged.

    Attributes:
        findings: Sentences, likeliest cause first.
        solvable_share: Largest share of all powers that still converges (0 when not even the idle grid does).
        folder: Where net and inputs were saved, empty if they were not.
    """

    findings: tuple[str, ...]
    solvable_share: float
    folder: str

    def __str__(self) -> str:
        return "\n".join(["power flow diverged; likeliest causes:", *(f"  - {text}" for text in self.findings)])


def load_net(path: str | Path) -> Any:
    """Read a pandapower net from a JSON file.

    Raises:
        ProblemsError: If the file is missing or holds no pandapower net.
    """
    file = Path(path)
    why = ""
    if not file.is_file():
        why = "there is no such file"
    else:
        try:
            net = pp.from_json(str(file))
            if hasattr(net, "bus") and len(net.bus):
                return net
            why = "the file holds no pandapower net with buses"
        except Exception as error:  # pandapower raises many kinds; each means an unreadable file
            why = f"not readable as pandapower JSON ({type(error).__name__}: {error})"
    raise ProblemsError(
        f"grid {file}", [Problem(what=why, where=str(file), remedy="write the net with pandapower.to_json(net, path)")]
    )


def _not_finite(given: GridInput) -> list[str]:
    found = []
    for field, values in asdict(given).items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            found.append(f"{field} is not a number at positions {bad[:_LISTED].tolist()} ({len(bad)} in all)")
    return found


def _largest_share(net: Any) -> tuple[float, Any]:
    """Largest share of the powers that converges, by bisection, and the net solved there."""
    low, high, best = 0.0, 1.0, None
    for attempt in range(_HALVINGS):
        share = 0.0 if attempt == 0 else 0.5 * (low + high)
        trial = copy.deepcopy(net)
        for table in ("load", "sgen", "storage", "gen"):
            trial[table]["p_mw"] *= share
            if "q_mvar" in trial[table]:
                trial[table]["q_mvar"] *= share
        if run_pandapower(trial):
            low, best = share, trial
        elif attempt == 0:
            return 0.0, None
        else:
            high = share
    return low, best


def diagnose_divergence(net: Any, given: GridInput, folder: str | Path | None = None) -> Diagnosis:
    """Find likely causes of a divergence.

    Args:
        net: pandapower net in the switching state of the failed step; not changed.
        given: Powers of the failed step.
        folder: Where to save ``net.json``, ``inputs.json`` and ``diagnosis.txt``; not saved if ``None``.
    """
    private = copy.deepcopy(net)
    write_input(private, given)
    findings, share = _not_finite(given), 0.0
    if not findings:
        share, solved = _largest_share(private)
        if solved is None:
            short = private.line.nsmallest(_LISTED, "length_km").index.tolist() if len(private.line) else []
            findings.append(f"not even the idle grid converges: check ext_grid, impedances; shortest lines {short}")
        else:
            findings.append(f"the grid carries only {100 * share:.0f} % of the powers: voltage collapse by overload")
            low = solved.res_bus.vm_pu.nsmallest(_LISTED)
            findings.append("lowest voltage just before: " + ", ".join(f"bus.{i} {v:.2f} pu" for i, v in low.items()))
            for table in ("line", "trafo"):
                if len(solved[table]):
                    top = solved[f"res_{table}"].loading_percent.nlargest(3)
                    findings.append("loaded most: " + ", ".join(f"{table}.{i} {v:.0f} %" for i, v in top.items()))
    for table in ("load", "sgen", "storage"):
        if len(private[table]):
            big = private[table].p_mw.abs().nlargest(3)
            findings.append("largest powers: " + ", ".join(f"{table}.{i} {v:.3g} MW" for i, v in big.items()))
    where = Path(folder) if folder is not None else None
    result = Diagnosis(findings=tuple(findings), solvable_share=share, folder=str(where or ""))
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
        pp.to_json(private, str(where / "net.json"))
        inputs = {field: values.tolist() for field, values in asdict(given).items()}
        (where / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
        (where / "diagnosis.txt").write_text(f"{result}\n", encoding="utf-8")
    return result
