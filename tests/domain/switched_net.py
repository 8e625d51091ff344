"""A small distribution grid with switches, for tests: two feeders, a tie between their ends, a stub."""

from __future__ import annotations

import pandapower as pp


def feeders(load_mw=0.6, length_km=2.0, max_i_ka=0.25, depth=4):
    """Two feeders of ``depth`` stations behind breakers, switches at every line end, one tie, a stub without tie.

    Buses: 0 busbar; 1..depth feeder A; depth+1..2*depth feeder B; the last one is a stub at the head of A.
    Lines are numbered in the order of their far bus, the tie is the last line.
    """
    net = pp.create_empty_network()
    pp.create_bus(net, 110.0)
    bar = pp.create_bus(net, 20.0, min_vm_pu=0.9, max_vm_pu=1.1)
    pp.create_ext_grid(net, 0, vm_pu=1.0)
    pp.create_transformer(net, 0, bar, "25 MVA 110/20 kV")

    def station(behind, breaker=False):
        bus = pp.create_bus(net, 20.0, min_vm_pu=0.9, max_vm_pu=1.1)
        pp.create_load(net, bus, load_mw, 0.2 * load_mw)
        line = cable(behind, bus)
        pp.create_switch(net, behind, line, "l", type="CB" if breaker else "LBS")
        pp.create_switch(net, bus, line, "l", type="LBS")
        return bus

    def cable(a, b):
        return pp.create_line_from_parameters(net, a, b, length_km, 0.35, 0.12, 200.0, max_i_ka)

    ends = []
    for _feeder in range(2):
        at = bar
        for position in range(depth):
            at = station(at, breaker=position == 0)
        ends.append(at)
    station(2)
    tie = cable(*ends)
    pp.create_switch(net, ends[0], tie, "l", type="LBS", closed=False)
    pp.create_switch(net, ends[1], tie, "l", type="LBS")
    return net
