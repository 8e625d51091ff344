"""Key figures, report and comparison of a synthetic study whose figures are known."""

import json
import re

import numpy as np
import pytest

from heila_mosaik.domain.information import Message, SettlementStatement, VerificationNotification
from heila_mosaik.results.compare import compare
from heila_mosaik.results.flows import REACTIVE, flows
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis, write_kpis
from heila_mosaik.results.report import headline, render, write_report
from heila_mosaik.results.store import RunStore
from tests.results.fake import STEP_S, at, bump, write_study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return RunFolder(write_study(tmp_path_factory.mktemp("study") / "run"))


def test_congestion_is_counted_as_in_the_data(run):
    figures = compute_kpis(run)
    for relief, part in ((20.0, figures), (0.0, figures["baseline"])):
        steps = int((55.0 + bump(60.0 - relief) > 100.001).sum())
        assert part["congestion"]["line_current"]["elements"].get("line.1", 0.0) == steps * STEP_S / 60
    assert figures["baseline"]["worst"]["line_loading_percent"]["value"] == pytest.approx(115.0)
    assert figures["baseline"]["worst"]["line_loading_percent"]["element"] == "line.1"
    assert figures["baseline"]["congestion"]["overvoltage"]["elements"].keys() == {"bus.2"}


def test_curtailment_is_what_the_baseline_fed_more(run):
    expected = bump(20.0).sum() / 60 * STEP_S / 3600
    assert compute_kpis(run)["energy"]["curtailed_mwh"] == pytest.approx(expected)


def test_market_figures_count_an_object_sent_twice_once(run):
    figures = compute_kpis(run)
    assert figures["market"]["offers"] == 4
    assert figures["market"]["reserves"] == 1
    assert figures["flexibility"]["activations"] == 3
    assert figures["flexibility"]["withheld"] == 1
    assert figures["flexibility"]["called_periods"] == 1
    assert figures["flexibility"]["success_share"] == 1.0
    assert figures["flexibility"]["cost_eur"] == pytest.approx(43.4)
    assert sum(figures["payments_eur"].values()) == pytest.approx(0.0)


def test_kpis_file_is_strict_json_and_stable(tmp_path):
    folder = write_study(tmp_path / "run")
    write_kpis(folder)
    first = (folder / "kpis.json").read_bytes()
    write_kpis(folder)
    assert (folder / "kpis.json").read_bytes() == first
    json.loads(first, parse_constant=lambda name: pytest.fail(f"{name} in kpis.json"))
    assert RunFolder(folder).damaged() == ()


def test_a_later_activation_replaces_an_earlier_one(run):
    times = run.series("bus_vm_pu").index
    volumes = flows(run, times)
    clock = times.strftime("%H:%M").tolist()
    assert volumes.activated[clock.index("11:30")] == 0.2
    assert volumes.activated[clock.index("12:00")] == 0.45
    assert volumes.activated[clock.index("13:00")] == 0.25
    assert volumes.activated[clock.index("13:30")] == 0.0
    assert volumes.cleared_high[clock.index("12:00")] == 0.5
    assert volumes.delivered[clock.index("11:30")] == pytest.approx(0.19)
    assert np.isnan(volumes.delivered[clock.index("09:00")])
    reactive = flows(run, times, REACTIVE)
    assert not reactive.activated.any()
    assert np.isnan(reactive.delivered).all()  # nothing reactive was called: what the meter saw is no delivery
    assert volumes.offered_high[clock.index("12:00")] == pytest.approx(1.4)


def test_report_works_without_network_and_tells_the_story(run):
    page = render(run)
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert body.count("<title>") == 1
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", body)
    for figure in ("timeline", "voltage", "duration", "merit", "map", "estimation"):
        assert f'id="figure-{figure}"' in page
    assert "would load line.0 to 101.2 %" in body
    assert "Consumption is positive everywhere" in body
    assert any("Without flexibility the grid would have seen" in sentence for sentence in headline(compute_kpis(run)))


def test_report_of_an_incomplete_run_without_messages(tmp_path):
    folder = tmp_path / "run"
    write_study(folder, baseline=False)
    for part in (folder / "messages").iterdir():
        part.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.update(status="incomplete", reason="interrupted")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = write_report(folder).read_text()
    assert "incomplete" in page
    assert "no baseline was made" in page


def test_report_of_an_empty_run(tmp_path):
    from tests.results.test_store import make

    with make(tmp_path / "run"):
        pass
    assert "No limit was passed" in write_report(tmp_path / "run").read_text()


def test_comparison_names_settings_and_figures(run, tmp_path):
    other = write_study(tmp_path / "other", baseline=False)
    text = (other / "scenario.resolved.yaml").read_text().replace("pay_as_bid", "pay_as_clear")
    (other / "scenario.resolved.yaml").write_text(text)
    found = compare(run, RunFolder(other))
    assert [(d.key, d.first, d.second) for d in found["settings"]] == [
        ("market.clearing", "pay_as_bid", "pay_as_clear")
    ]
    changes = {d.key: d.change for d in found["figures"]}
    assert changes["worst.line_loading_percent.value"] == 0.0


def test_headline_says_when_flexibility_made_it_worse(run):
    figures = compute_kpis(run)
    figures["congested_minutes"] = figures["baseline"]["congested_minutes"] * 1.5
    assert any("50.0% more" in sentence for sentence in headline(figures))
    figures["congested_minutes"] = figures["baseline"]["congested_minutes"]
    assert any("no change" in sentence for sentence in headline(figures))


def test_periods_without_a_call_do_not_flatter_the_delivery(tmp_path):
    """Of two settled periods one was called and failed: the share is 0, not one half."""
    zeros, moment = (0.0,) * 15, at(12)
    with RunStore(tmp_path / "run", scenario_yaml="", name="x", seed=1, min_free_mb=0) as store:
        for number, asked in enumerate(((0.3,) * 15, zeros)):
            check = VerificationNotification(
                id=f"v{number}", reserve="r", location="mg", start=at(11), stop=at(11.25), step_s=60,
                baseline_method="operation_plan", baseline_p_mw=zeros, measured_p_mw=zeros, requested_p_mw=asked,
                baseline_q_mvar=zeros, measured_q_mvar=zeros, requested_q_mvar=zeros,
            )  # fmt: skip
            statement = SettlementStatement(
                id=f"s{number}", reserve="r", verification=check.id, payer="dms", payee="ams", start=at(11),
                stop=at(11.25), requested_mwh=sum(asked) / 60, delivered_mwh=0.0, availability_eur=0.0,
                activation_eur=0.0, reactive_eur=0.0, penalty_eur=0.0, success=not any(asked),
            )  # fmt: skip
            for body in (check, statement):
                message = Message(id=body.id, sender="mg", receiver="fmp", sent_at=moment, body=body)
                store.message(message, delivered_at=moment)
    figures = compute_kpis(RunFolder(tmp_path / "run"))["flexibility"]
    assert (figures["called_periods"], figures["success_share"]) == (1, 0.0)
