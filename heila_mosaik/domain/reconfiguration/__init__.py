"""Network reconfiguration: which switches of a radial grid to open, by branch exchange with AC power flow."""

from heila_mosaik.domain.reconfiguration.check import Cases, Outcome, Switchboard
from heila_mosaik.domain.reconfiguration.exchange import Reconfiguration, reconfigure
from heila_mosaik.domain.reconfiguration.failures import NotRadialError

__all__ = ["Cases", "NotRadialError", "Outcome", "Reconfiguration", "Switchboard", "reconfigure"]
