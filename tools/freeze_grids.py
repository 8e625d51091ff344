"""Freeze the study grids: write ``net.json``, ``profiles.parquet`` and ``checksums.sha256`` of ``grids/*``.

``microgrids.yaml`` and ``README.md`` are written by hand and only checksummed here.  Needs the ``test`` extra
(simbench).  Run from the root of the repository: ``python tools/freeze_grids.py [rural_mv] [cigre_mv]``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import simbench as sb
from ruamel.yaml import YAML

GRIDS = Path(__file__).resolve().parent.parent / "grids"
FROZEN = ("net.json", "profiles.parquet", "microgrids.yaml")
SIMBENCH_CODE = "1-MV-rural--2-sw"
LOCAL_ZONE = "Europe/Berlin"  # SimBench's 2016 time stamps skip 27 March 02:00 and repeat 30 October 02:00

# CIGRE names no profile for its DER and loads; household and trade follow the name (R residential, CI commercial).
CIGRE_LOAD_PROFILES = {"Load R": ("H0-A", "H0-B", "H0-C", "H0-G", "H0-L"), "Load CI": ("G0-A", "G1-A", "G3-A", "G4-A")}
CIGRE_SGEN_PROFILES = {"PV": "PV3", "WP": "WP4"}
EN_50160_BAND_PU = (0.90, 1.10)  # EN 50160:2010, 5.2.2: 95 % of the 10-min means within ±10 % of the declared voltage


def utc_times(simbench_time: pd.Series) -> pd.DatetimeIndex:
    """SimBench's German local time stamps as UTC; checks the 15-min step."""
    local = pd.to_datetime(simbench_time, format="%d.%m.%Y %H:%M")
    times = pd.DatetimeIndex(local.dt.tz_localize(LOCAL_ZONE, ambiguous="infer").dt.tz_convert("UTC"))
    if not (np.diff(times.asi8) == pd.Timedelta(minutes=15).value).all():
        raise ValueError("SimBench time stamps are not a gap-free 15-min grid in UTC")
    return times


def rural_mv() -> tuple[pp.pandapowerNet, dict[str, pd.DataFrame]]:
    """SimBench rural medium-voltage grid, scenario 2 (2034)."""
    net = sb.get_simbench_net(SIMBENCH_CODE)
    profiles = net.pop("profiles")
    for key in ("loadcases", "profiles"):
        net.pop(key, None)
    # SimBench's home-storage profiles only ever feed (relative values in 0..1 of a negative p_mw): energy from nowhere.
    net.storage = net.storage.iloc[0:0]
    net.measurement = net.measurement.iloc[0:0]
    # The converter leaves the kind of tap changer open, and pandapower >= 3 then ignores the tap position.
    net.trafo["tap_changer_type"] = "Ratio"
    net.trafo["tap_pos"] = 2.0
    net.name = "rural_mv"
    return net, profiles


def cigre_mv() -> tuple[pp.pandapowerNet, dict[str, pd.DataFrame]]:
    """CIGRE MV benchmark (TF C6.04.02) with PV and wind, SimBench profiles assigned."""
    net = pn.create_cigre_network_mv(with_der="pv_wind")
    profiles = sb.get_simbench_net(SIMBENCH_CODE)["profiles"]
    wide = sb.get_all_simbench_profiles(0)
    profiles["load"] = wide["load"]
    net.load["profile"] = ""
    for prefix, names in CIGRE_LOAD_PROFILES.items():
        rows = net.load.index[net.load["name"].str.startswith(prefix)]
        for position, row in enumerate(rows):
            net.load.loc[row, "profile"] = names[position % len(names)]
    net.sgen["profile"] = net.sgen["type"].map(CIGRE_SGEN_PROFILES)
    net.bus["min_vm_pu"], net.bus["max_vm_pu"] = EN_50160_BAND_PU
    net.line["max_loading_percent"] = 100.0
    net.trafo["max_loading_percent"] = 100.0
    net.name = "cigre_mv"
    return net, profiles


def used_columns(net: pp.pandapowerNet, microgrids: Path) -> list[str]:
    """Profile columns that the net or its microgrids name."""
    columns = {f"{name}_{kind}" for name in net.load["profile"] for kind in ("pload", "qload")}
    columns |= set(net.sgen["profile"])
    for grid in YAML(typ="safe").load(microgrids)["microgrids"]:
        for resource in grid["resources"]:
            name = resource.get("profile")
            if name:
                columns |= {f"{name}_pload", f"{name}_qload"} if resource["type"] == "load" else {name}
    return sorted(columns)


def profile_table(profiles: dict[str, pd.DataFrame], columns: list[str]) -> pa.Table:
    """Relative profiles as float32 with UTC times."""
    source = {**{name: profiles["load"][name] for name in profiles["load"] if name != "time"}}
    source |= {name: profiles["renewables"][name] for name in profiles["renewables"] if name != "time"}
    times = utc_times(profiles["renewables"]["time"])
    arrays: list[Any] = [pa.array(times.as_unit("s").asi8, pa.timestamp("s", "UTC"))]
    arrays += [pa.array(np.asarray(source[name], dtype=np.float32)) for name in columns]
    return pa.table(dict(zip(["time", *columns], arrays, strict=True)))


def write_net(net: pp.pandapowerNet, path: Path) -> None:
    """Write the net; indented, so that a change shows in a diff."""
    empty = pp.create_empty_network()
    for table in [key for key in net if isinstance(net[key], pd.DataFrame)]:
        known = list(empty[table].columns) if isinstance(empty.get(table), pd.DataFrame) else []
        plain = [name for name in known if name in net[table].columns]
        net[table] = net[table][plain + sorted(set(net[table].columns) - set(plain))]  # simbench orders them by hash
    text = pp.to_json(net, filename=None)
    path.write_text(json.dumps(json.loads(text), indent=1, sort_keys=False) + "\n", encoding="utf-8")


def freeze(name: str) -> None:
    """Write one grid folder."""
    folder = GRIDS / name
    net, profiles = {"rural_mv": rural_mv, "cigre_mv": cigre_mv}[name]()
    columns = used_columns(net, folder / "microgrids.yaml")
    table = profile_table(profiles, columns)
    write_net(net, folder / "net.json")
    pq.write_table(
        table,
        folder / "profiles.parquet",
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        use_byte_stream_split=columns,
        row_group_size=96 * 31,
    )
    lines = [f"{hashlib.sha256((folder / part).read_bytes()).hexdigest()}  {part}\n" for part in FROZEN]
    (folder / "checksums.sha256").write_text("".join(lines), encoding="ascii")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {len(net.bus)} buses, {table.num_rows} rows, {len(columns)} profiles, {size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("rural_mv", "cigre_mv"):
        freeze(chosen)
