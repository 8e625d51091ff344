"""State forecast: blend of persistence and profile, chance of congestion against Monte Carlo, effects of needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandapower.networks as pn
import pytest

from heila_mosaik.domain.congestion import Action, Limits, optimise, violations
from heila_mosaik.domain.forecast import ErrorModel, InjectionForecast, blend, detect, needs_of
from heila_mosaik.domain.information import CongestionKind
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.gridmodel import compile_net

START = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def stressed():
    """CIGRE MV over a day whose evening passes the transformer's limit."""
    net = pn.create_cigre_network_mv()
    engine = compile_net(net)
    given = engine.default_input()
    grid = TimeGrid(start=START, step_s=900, count=96)
    hour = np.arange(96) / 4
    shape = (0.6 + 0.45 * np.exp(-(((hour - 18) / 2.5) ** 2)))[:, None]
    p, q = shape * given.load_p_mw, shape * given.load_q_mvar
    forecast = InjectionForecast(
        grid=grid, p_mw=p, q_mvar=q, sigma_p_mw=0.04 * p, sigma_q_mvar=0.04 * q, correlation=0.3
    )
    n = len(engine.network.bus_ids)
    limits = Limits(
        v_min_pu=np.full(n, 0.92), v_max_pu=np.full(n, 1.08),
        line_percent=np.full(len(engine.network.lines.ids), 100.0),
        trafo_percent=np.full(len(engine.network.trafos.ids), 96.0),
    )  # fmt: skip
    return engine, forecast, engine.network.loads.bus, limits


def test_blend_goes_from_persistence_to_profile():
    grid = TimeGrid(start=START, step_s=900, count=144)
    ones = np.ones((144, 2))
    profile = InjectionForecast(
        grid=grid, p_mw=ones, q_mvar=ones, sigma_p_mw=0.2 * ones, sigma_q_mvar=0.2 * ones, correlation=0.3
    )
    mixed = blend(profile, 3600.0, deviation_p_mw=np.array([0.5, -0.5]), deviation_q_mvar=np.zeros(2))
    assert mixed.p_mw[0, 0] == pytest.approx(1 + 0.5 * np.exp(-450 / 3600))
    assert mixed.p_mw[-1, 0] == pytest.approx(1.0, abs=1e-9)
    assert (np.diff(mixed.sigma_p_mw[:, 0]) >= 0).all()
    assert mixed.sigma_p_mw[-1, 0] == pytest.approx(0.2)


def test_blend_has_the_error_it_declares():
    """Against simulated AR(1) errors: the declared deviation is the root mean square error."""
    rng = np.random.default_rng(2)
    tau, step, runs = 3600.0, 900, 4000
    phi = np.exp(-step / tau)
    error = rng.standard_normal(runs)
    now = error.copy()
    grid = TimeGrid(start=START, step_s=step, count=8)
    unit = np.ones((8, runs))
    profile = InjectionForecast(
        grid=grid, p_mw=0 * unit, q_mvar=0 * unit, sigma_p_mw=unit, sigma_q_mvar=unit, correlation=0.0
    )
    mixed = blend(profile, tau, deviation_p_mw=now, deviation_q_mvar=0 * now, lead_s=-step / 2)
    for k in range(8):
        rms = np.sqrt(((error - mixed.p_mw[k]) ** 2).mean())
        assert rms == pytest.approx(mixed.sigma_p_mw[k, 0], abs=0.04)
        error = phi * error + np.sqrt(1 - phi**2) * rng.standard_normal(runs)


def test_probability_agrees_with_monte_carlo(stressed):
    engine, forecast, bus, limits = stressed
    found = detect(engine, forecast, bus, limits, risk=0.05)
    assert {item.kind for item in found.congestions} == {CongestionKind.UNDERVOLTAGE, CongestionKind.CURRENT}
    rng = np.random.default_rng(4)
    row, runs, share = 66, 2000, forecast.correlation
    common = rng.standard_normal((runs, 2))
    own = rng.standard_normal((runs, 2, len(bus)))
    draw = np.sqrt(share) * common[:, :, None] + np.sqrt(1 - share) * own
    p = forecast.p_mw[row] + draw[:, 0] * forecast.sigma_p_mw[row]
    q = forecast.q_mvar[row] + draw[:, 1] * forecast.sigma_q_mvar[row]
    n = len(engine.network.bus_ids)
    p_bus, q_bus = np.zeros((runs, n)), np.zeros((runs, n))
    np.add.at(p_bus.T, bus, p.T)
    np.add.at(q_bus.T, bus, q.T)
    _, _, trafo = engine.solve_bus_batch(p_bus, q_bus)
    for position in (0, 1):
        chance = (trafo[:, position] > 96.0).mean()
        tight = detect(engine, forecast, bus, limits, risk=0.05, keep=np.arange(96) == row)
        stated = [c.probability for c in tight.congestions if c.element == f"trafo.{position}"]
        if stated:
            assert stated[0] == pytest.approx(chance, abs=0.04)


def test_limits_tightened_by_the_risk_hold_it(stressed):
    """Redispatch to the tightened limits leaves about the stated chance of violation."""
    engine, forecast, bus, limits = stressed
    found = detect(engine, forecast, bus, limits, risk=0.05)
    row = max(found.limits, key=lambda k: found.probability[k])
    everywhere = tuple(
        Action(name=str(k), bus=k, p_min_mw=-5.0, p_max_mw=0.0, price_up=50.0) for k in (3, 5, 8, 10, 13)
    )
    answer = optimise(engine, found.p_bus_mw[row], found.q_bus_mvar[row], everywhere, found.limits[row])
    assert not answer.after
    moved = forecast.p_mw[row] * 1.0
    rng = np.random.default_rng(8)
    broken = 0
    for _ in range(400):
        common, own = rng.standard_normal(2), rng.standard_normal((2, len(bus)))
        draw = np.sqrt(0.3) * common[:, None] + np.sqrt(0.7) * own
        p = np.bincount(bus, moved + draw[0] * forecast.sigma_p_mw[row], len(found.p_bus_mw[row]))
        q = np.bincount(bus, forecast.q_mvar[row] + draw[1] * forecast.sigma_q_mvar[row], len(p))
        p += np.bincount([a.bus for a in everywhere], answer.p_mw, len(p))
        broken += any(v.element == "trafo.0" for v in violations(engine.solve_bus(p, q), engine.network, limits))
    assert broken / 400 < 0.12


def test_needs_carry_the_effect_of_each_location(stressed):
    engine, forecast, bus, limits = stressed
    found = detect(engine, forecast, bus, limits)
    needs = needs_of(engine, found, {"north": 5, "south": 9, "other": 13})
    assert len(needs) == len(found.congestions)
    need = next(item for item in needs if item.element == "trafo.0")
    assert need.locations == ("north", "south", "other") or "north" in need.locations
    assert need.effect_p[0] < 0  # raising consumption does not relieve
    worst = next(item for item in found.congestions if item.element == "trafo.0").worst
    p = found.p_bus_mw[worst].copy()
    before = engine.solve_bus(p, found.q_bus_mvar[worst]).trafo_loading_percent[0]
    p[5] -= 0.1
    after = engine.solve_bus(p, found.q_bus_mvar[worst]).trafo_loading_percent[0]
    assert before - after == pytest.approx(-0.1 * need.effect_p[0], rel=0.02)


def test_no_uncertainty_no_false_alarm(stressed):
    engine, forecast, bus, limits = stressed
    sure = replace(forecast, p_mw=0.5 * forecast.p_mw, q_mvar=0.5 * forecast.q_mvar, sigma_p_mw=0 * forecast.p_mw,
                   sigma_q_mvar=0 * forecast.p_mw)  # fmt: skip
    assert not detect(engine, sure, bus, limits).congestions
    assert ErrorModel().sigma(np.zeros(1), np.ones(1))[0] > 0
