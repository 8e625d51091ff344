"""What the compiled grid offers beyond one solve: results, derivatives, batches, copies, changes, replay."""

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from heila_mosaik.domain.network import Observable
from heila_mosaik.domain.powerflow.pack import as_grid, as_work
from heila_mosaik.errors import ProblemsError
from heila_mosaik.gridmodel import compile_net, replay


@pytest.fixture(scope="module")
def net():
    return nw.create_cigre_network_mv(with_der="pv_wind")


@pytest.fixture
def engine(net, compiled):
    return compiled.copy()


@pytest.fixture(scope="module")
def compiled(net):
    return compile_net(net)


def test_flows_powers_and_losses_agree_with_pandapower(net, engine):
    state = engine.solve(engine.default_input())
    pp.runpp(net)
    for mine, truth in (
        (state.va_degree, net.res_bus.va_degree),
        (state.p_bus_mw, net.res_bus.p_mw),
        (state.q_bus_mvar, net.res_bus.q_mvar),
        (state.line_p_from_mw, net.res_line.p_from_mw),
        (state.line_q_from_mvar, net.res_line.q_from_mvar),
        (state.line_i_ka, net.res_line.i_ka),
        (state.trafo_p_hv_mw, net.res_trafo.p_hv_mw),
        (state.trafo_q_hv_mvar, net.res_trafo.q_hv_mvar),
        (state.trafo_i_hv_ka, net.res_trafo.i_hv_ka),
        (state.ext_q_mvar, net.res_ext_grid.q_mvar),
    ):
        np.testing.assert_allclose(mine, truth.to_numpy(float), rtol=0, atol=2e-6)
    assert state.losses_mw == pytest.approx(net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum(), abs=1e-6)


def test_kernel_views_are_the_engine_arrays(engine):
    flat = engine._flat
    for views, truth in ((as_grid(*flat[:3]), engine._grid), (as_work(*flat[3:]), engine._work)):
        for name, array in truth._asdict().items():
            np.testing.assert_array_equal(getattr(views, name), array, err_msg=name)


def test_sensitivities_are_central_differences(engine):
    branches = [o for o in Observable if o.value.startswith(("line", "trafo"))]
    observables = (Observable.VM_PU, Observable.EXT_P_MW, Observable.EXT_Q_MVAR, Observable.LOSSES_MW, *branches)
    positions = np.array([9, 0, 0, 0, *[1] * len(branches)])
    given = engine.default_input()
    engine.solve(given)
    p, q = (power.copy() for power in engine.bus_injection(given))

    def values():
        return engine.sensitivity(observables, positions)[0]

    engine.solve_bus(p, q)
    _values, by_p, by_q = engine.sensitivity(observables, positions)
    by_vm = engine.sensitivity_ext_vm(observables, positions)
    step = 1e-3
    for bus in (3, 11):
        for power, derivative in ((p, by_p), (q, by_q)):
            ends = []
            for sign in (1, -1):
                power[bus] += sign * step
                engine.solve_bus(p, q)
                ends.append(values())
                power[bus] -= sign * step
            np.testing.assert_allclose(derivative[:, bus], (ends[0] - ends[1]) / (2 * step), rtol=2e-4, atol=2e-5)
    ends = []
    for sign in (1, -1):
        given.ext_vm_pu += sign * 1e-4
        engine.solve(given)
        ends.append(values())
        given.ext_vm_pu -= sign * 1e-4
    np.testing.assert_allclose(by_vm[:, 0], (ends[0] - ends[1]) / 2e-4, rtol=1e-3, atol=1e-3)


def test_batch_gives_the_rows_of_single_solves_and_nan_where_one_diverges(engine):
    p, q = engine.bus_injection(engine.default_input())
    factors = np.array([0.2, 1.0, 1e4, 0.7])
    vm, lines, trafos = engine.solve_bus_batch(factors[:, None] * p, factors[:, None] * q)
    for row, factor in enumerate(factors):
        state = engine.solve_bus(factor * p, factor * q)
        assert state.converged == (factor < 1e4)
        np.testing.assert_array_equal(vm[row], state.vm_pu)
        np.testing.assert_array_equal(lines[row], state.line_loading_percent)
        np.testing.assert_array_equal(trafos[row], state.trafo_loading_percent)


def test_a_solution_does_not_depend_on_what_was_solved_before(engine):
    given = engine.default_input()
    first = engine.solve(given).vm_pu.copy()
    other = engine.default_input()
    other.load_p_mw *= 0.1
    engine.solve(other)
    np.testing.assert_array_equal(engine.solve(given).vm_pu, first)


def test_a_copy_is_independent(engine):
    given = engine.default_input()
    before = engine.solve(given).vm_pu.copy()
    other = engine.copy()
    other.set_switch(4, True)
    other.set_tap(0, 3)
    other.set_in_service("load", 3, False)
    assert not np.allclose(other.solve(given).vm_pu, before, atol=1e-4)
    np.testing.assert_array_equal(engine.solve(given).vm_pu, before)


@pytest.mark.parametrize(("table", "element"), [("load", 5), ("sgen", 2), ("line", 7), ("bus", 11), ("trafo", 1)])
def test_out_of_service_as_in_pandapower_and_back(net, engine, table, element):
    given = engine.default_input()
    before = engine.solve(given).vm_pu.copy()
    engine.set_in_service(table, element, False)
    state = engine.solve(given)
    truth = engine.to_pandapower(given)
    assert not truth[table].at[element, "in_service"]
    pp.runpp(truth)
    np.testing.assert_allclose(state.vm_pu, truth.res_bus.vm_pu, rtol=0, atol=1e-6)
    np.testing.assert_allclose(state.line_loading_percent, truth.res_line.loading_percent, rtol=0, atol=1e-3)
    engine.set_in_service(table, element, True)
    np.testing.assert_allclose(engine.solve(given).vm_pu, before, rtol=0, atol=1e-12)


def test_replay_confirms_recorded_inputs(net, engine):
    inputs, states = [], []
    for factor in (0.3, 1.0, 1.2):
        given = engine.default_input()
        given.load_p_mw *= factor
        inputs.append(given)
        states.append(engine.solve(given))
    for state, truth in zip(states, replay(net, inputs), strict=True):
        np.testing.assert_allclose(state.vm_pu, truth.vm_pu, rtol=0, atol=1e-6)
        np.testing.assert_allclose(state.line_loading_percent, truth.line_loading_percent, rtol=0, atol=1e-3)


def test_nan_input_is_a_divergence_and_unknown_elements_are_named(engine):
    given = engine.default_input()
    given.load_p_mw[3] = np.nan
    state = engine.solve(given)
    assert not state.converged
    assert np.isnan(state.vm_pu).all()
    with pytest.raises(ArithmeticError, match="no converged solution"):
        engine.sensitivity((Observable.VM_PU,), np.array([0]))
    with pytest.raises(ProblemsError, match=r"line\.99"):
        engine.set_in_service("line", 99, False)
