"""Own actors and an own market rule in a study: the examples of the how-to pages, and every mistake one can make."""

import json
from pathlib import Path

import pytest

from heila_mosaik.cli.checking import find_problems
from heila_mosaik.domain.market import Clearing, ClearingRule, clear, require_sound
from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.manifest import checksum
from heila_mosaik.study.build import build_study, make_actors
from heila_mosaik.study.extensions import ExtensionError, extension_checksums
from heila_mosaik.study.loader import dump_scenario, load_scenario
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.shelf import Shelf
from heila_mosaik.study.sweep.plan import data_checksums
from tests.domain.market_examples import a_bid, an_offer

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def run(name, folder, *settings):
    scenario = load_scenario(EXAMPLES / f"{name}.yaml", settings).scenario
    return RunFolder(run_scenario(scenario, folder / name, baseline=False))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Retailer and own market rule together, until the first call has been settled."""
    return run("first_come", tmp_path_factory.mktemp("own"), "duration_h=4.25", "messages=wire")


def test_an_own_buyer_goes_through_the_whole_sequence(served):
    messages = served.messages
    sent = messages[messages["sender"] == "retailer"]["kind"]
    got = messages[messages["receiver"] == "retailer"]
    assert set(sent) == {"FlexibilityRequest", "Bid", "ActivationNotification"}
    assert set(got["kind"]) >= {"OfferList", "ReserveNotification", "VerificationNotification", "SettlementStatement"}
    settled = [json.loads(body) for body in got[got["kind"] == "SettlementStatement"]["body"]]
    assert all(each["payer"] == "retailer" for each in settled)
    assert settled[0]["delivered_mwh"] == pytest.approx(settled[0]["requested_mwh"], rel=0.1)
    assert settled[0]["requested_mwh"] < 0.0


def test_the_called_power_is_really_taken_back(served):
    sold = served.messages.query("kind == 'ReserveNotification' and receiver == 'retailer'")["body"]
    reserve = min((json.loads(body) for body in sold), key=lambda each: each["start"])
    drawn = served.series("pcc_p_mw")[reserve["location"]].loc[reserve["start"] : reserve["stop"]]
    verified = [json.loads(b) for b in served.messages.query("kind == 'VerificationNotification'")["body"]]
    mine = next(each for each in verified if each["reserve"] == reserve["id"])
    assert drawn.iloc[0] < min(mine["baseline_p_mw"]) + 0.9 * reserve["p_min_mw"]


def test_the_own_rule_clears_and_its_cap_holds(served):
    reserved = [json.loads(b) for b in served.messages.query("kind == 'ReserveNotification'")["body"]]
    assert reserved
    assert all(each["price_eur_per_mwh"] <= 90.0 for each in reserved)
    refused = served.records.query("event == 'purchase_refused'")
    assert len(refused)
    assert refused["detail"].str.contains("above cap").all()


def test_own_code_is_told_apart_in_the_manifest_and_in_the_key_of_a_sweep(served):
    stated = json.loads((served.path / "manifest.json").read_text())["provenance"]["extension_checksums"]
    assert stated == {
        "extensions.actors.retailer": checksum(EXAMPLES / "retailer.py"),
        "extensions.clearing": checksum(EXAMPLES / "first_come.py"),
    }
    scenario = load_scenario(EXAMPLES / "first_come.yaml").scenario
    assert data_checksums(scenario, Shelf()).items() >= stated.items()


def test_a_wrapped_aggregator_raises_its_price_after_every_sale(tmp_path):
    folder = run("bold_seller", tmp_path, "duration_h=2.5")
    factors = [float(json.loads(v)["factor"]) for v in folder.records.query("event == 'price_factor'")["values"]]
    assert factors == pytest.approx([1.0, 1.15, 1.15**2])
    assert len(folder.messages.query("sender == 'ams' and kind == 'OperationPlan'"))


def test_the_baseline_has_the_own_actors_that_ask_for_it():
    def names(**extension):
        settings = [f"extensions.actors.retailer.{key}={value}" for key, value in extension.items()]
        study = build_study(load_scenario(EXAMPLES / "retailer.yaml", settings).scenario)
        actors, _ = make_actors(study, flexibility=False)
        return [actor.name for actor in actors]

    assert names()[-2:] == ["retailer", "fmp"]
    assert "retailer" not in names(in_baseline="false")


def test_paths_follow_an_extended_scenario(tmp_path):
    (tmp_path / "deep").mkdir()
    child = tmp_path / "deep" / "child.yaml"
    child.write_text(f"extends: {EXAMPLES / 'first_come.yaml'}\nname: child\n")
    scenario = load_scenario(child).scenario
    assert find_problems(child, [])[1] == ()
    assert all(extension_checksums(scenario).values())
    assert dump_scenario(scenario)


BROKEN = {
    "missing file": ("nowhere.py:make", "does not exist"),
    "missing module": ("no_such_package.actors:make", "no module"),
    "missing name": ("own.py:maker", "is not there"),
    "no function": ("own.py:NUMBER", "is not callable"),
    "not loadable": ("torn.py:make", "SyntaxError"),
    "form": ("own.py", "file.py:name"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_check_says_what_is_wrong_with_own_code_and_where(case, tmp_path):
    named, said = BROKEN[case]
    (tmp_path / "own.py").write_text("NUMBER = 3\n\ndef make(place):\n    return place.standard\n")
    (tmp_path / "torn.py").write_text("def make(place:\n")
    path = tmp_path / "mine.yaml"
    base = (ROOT / "scenarios" / "test_cycle.yaml").as_posix()
    path.write_text(f"extends: {base}\nextensions:\n  actors:\n    ams:\n      python: {named}\n")
    _, problems = find_problems(path, [])
    [problem] = problems
    assert said in problem.what
    assert "mine.yaml:5" in problem.where


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("return place.settings['speed']", ExtensionError, r"KeyError: 'speed' \(.*own.py:2\)"),
        ("return object()", ProblemsError, "no actor of the name 'ams'"),
    ],
)
def test_a_maker_that_fails_is_named_with_its_line(body, error, said, tmp_path):
    (tmp_path / "own.py").write_text(f"def make(place):\n    {body}\n")
    path = tmp_path / "mine.yaml"
    base = (ROOT / "scenarios" / "test_cycle.yaml").as_posix()
    path.write_text(f"extends: {base}\nextensions:\n  actors:\n    ams: {{python: 'own.py:make'}}\n")
    study = build_study(load_scenario(path).scenario)
    with pytest.raises(error, match=said) as caught:
        make_actors(study, flexibility=True)
    assert caught.value.exit_code == 2


def test_a_changed_file_is_loaded_again(tmp_path):
    path = tmp_path / "mine.yaml"
    base = (ROOT / "scenarios" / "test_cycle.yaml").as_posix()
    path.write_text(f"extends: {base}\nextensions:\n  actors:\n    ams: {{python: 'own.py:make'}}\n")
    for text, wrong in (("other = 1\n", 1), ("def make(place):\n    return place.standard\n", 0)):
        (tmp_path / "own.py").write_text(text)
        assert len(find_problems(path, [])[1]) == wrong


def test_a_rule_cannot_sell_what_was_not_offered():
    one, other = an_offer("a"), an_offer("b")
    sound = clear([one, other], [a_bid(purchases=[("a", -1.0)])], ClearingRule())
    require_sound(sound, [one, other], ())
    twice = Clearing(awards=sound.awards * 2, refusals=())
    with pytest.raises(ProblemsError, match="of a, of which"):
        require_sound(twice, [one, other], ())
    with pytest.raises(ProblemsError, match="which is not on offer"):
        require_sound(sound, [other], ())
    with pytest.raises(ProblemsError, match="own clearing"):
        require_sound(sound, [one, other], [sound.awards[0].reserve("sold")])
