"""The IED is a CEMS of one resource."""

from __future__ import annotations

from datetime import UTC, datetime

from heila_mosaik.actors.field_settings import FieldSettings
from heila_mosaik.actors.ied import Ied
from heila_mosaik.domain.information import FlexibilityForecast, Message, WeatherForecast
from heila_mosaik.domain.resources import BatterySpec

START = datetime(2016, 6, 1, tzinfo=UTC)


def test_forecasts_its_own_resource_when_distributed():
    settings = FieldSettings(mgms="mgms_a", resources={}, distributed=True)
    ied = Ied("ied_bat", "bat", BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0), settings)
    weather = WeatherForecast(
        id="w", issued_at=START, start=START, step_s=900, temperature_c=(5.0,) * 144,
        irradiance_w_per_m2=(0.0,) * 144, wind_m_per_s=(3.0,) * 144,
    )  # fmt: skip
    outcome = ied.step(START, [Message(id="m", sender="mgms_a", receiver="ied_bat", sent_at=START, body=weather)], None)
    (message,) = outcome.messages
    assert message.receiver == "mgms_a"
    assert isinstance(message.body, FlexibilityForecast)
    assert message.body.subject == "bat"
    assert 0.3 < message.body.energy_up_mwh < 0.4
