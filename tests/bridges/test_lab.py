import math

import pandapower as pp
import pytest

from heila_mosaik.bridges.lab.faults import Fault, fault_script
from heila_mosaik.bridges.lab.relay import Bay, BaySettings
from heila_mosaik.bridges.lab.wire import check_names, wire_values
from heila_mosaik.bridges.point_files import example_points, parse_points
from heila_mosaik.errors import ProblemsError

POINTS = example_points()


def run(bay, start, until, step=0.01):
    at = start
    while at < until:
        at += step
        bay.advance(at)
    return at


def test_measurements_are_pandapowers():
    bay, settings = Bay(), BaySettings()
    assert bay.command_setpoint("p", -0.4)
    run(bay, 0.0, 1.0)
    net = pp.create_empty_network()
    a, b = pp.create_bus(net, settings.vn_kv), pp.create_bus(net, settings.vn_kv)
    pp.create_ext_grid(net, a)
    pp.create_line_from_parameters(net, a, b, settings.length_km, settings.r_ohm_per_km, settings.x_ohm_per_km, 10, 9)
    pp.create_load(net, b, settings.load_p_mw - 0.4, settings.load_q_mvar)
    pp.runpp(net)
    assert bay.measured.p_mw == pytest.approx(net.res_ext_grid.p_mw[0], abs=1e-6)
    assert bay.measured.q_mvar == pytest.approx(net.res_ext_grid.q_mvar[0], abs=1e-6)
    assert bay.measured.i_ka == pytest.approx(net.res_line.i_from_ka[0], abs=1e-6)


def test_breaker_travels_and_the_der_ceases_with_it():
    bay = Bay()
    bay.command_setpoint("p", -0.3)
    at = run(bay, 0.0, 0.5)
    assert bay.command_breaker(closed=False)
    bay.advance(at + 0.02)
    assert bay.closed is None
    assert wire_values(bay, POINTS)["breaker_status"] == 0.0
    bay.advance(at + 0.06)
    assert bay.closed is False
    assert (bay.der["p"], bay.measured.i_ka, bay.measured.vm_pu) == (0.0, 0.0, 0.0)
    assert not bay.command_setpoint("p", 0.1)


def test_protection_trips_and_blocks_closing_until_reset():
    bay = Bay()
    bay.short_circuit_ka = 2.0
    at = run(bay, 0.0, 0.08)
    assert bay.closed is True
    at = run(bay, at, 0.4)
    assert (bay.closed, bay.tripped) == (False, True)
    assert not bay.command_breaker(closed=True)
    bay.reset_trip()
    assert bay.command_breaker(closed=True)


def test_local_and_synchronism_interlocks():
    bay = Bay()
    bay.local_switch = True
    assert not bay.command_breaker(closed=False)
    assert not bay.command_setpoint("p", 0.1)
    bay.local_switch, bay.synchronism = False, False
    assert bay.command_breaker(closed=False)
    run(bay, 0.0, 0.2)
    assert not bay.command_breaker(closed=True)


def test_watchdog_is_supervised_from_the_first_sign_of_life():
    bay = Bay(BaySettings(watchdog_s=1.0))
    bay.command_setpoint("p", -0.3)
    at = run(bay, 0.0, 3.0)
    assert bay.closed is True
    bay.sign_of_life()
    at = run(bay, at, at + 0.9)
    assert bay.watchdog_ok
    run(bay, at, at + 0.3)
    assert (bay.watchdog_ok, bay.closed, bay.setpoint["p"]) == (False, False, 0.0)


def test_unknown_points_and_bad_scripts_are_all_named():
    text = "name,direction,station,address,type\nfeeder_p,monitor,1,1,measured_float\nfoo,monitor,1,2,measured_float\n"
    with pytest.raises(ProblemsError, match="'foo'"):
        check_names(parse_points(text, "list.csv"))
    with pytest.raises(ProblemsError) as caught:
        fault_script([{"at_s": 1, "fault": "nope"}, {"fault": "slow"}, {"at_s": 2, "fault": "slow"}], "f.yaml")
    assert [problem.where for problem in caught.value.problems] == ["f.yaml:1", "f.yaml:2", "f.yaml:2", "f.yaml:3"]
    (step,) = fault_script([{"at_s": 2, "fault": "slow", "size": 0.5}], "f.yaml")
    assert (step.fault, step.size) == (Fault.SLOW, 0.5)


def test_wire_values_have_the_units_of_the_list():
    values = wire_values(Bay(), POINTS)
    assert values["feeder_ul1"] == pytest.approx(20.0 / math.sqrt(3.0))
    assert values["feeder_p"] == pytest.approx(1.209, abs=1e-3)
    assert values["breaker_status"] == 2.0
