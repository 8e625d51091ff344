"""The generated reference says everything the code knows, the same way every time."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reference import PAGES, cli, errors, messages, schema, simulators, text, topics

from heila_mosaik.errors import HeilaError
from heila_mosaik.simulators.base import SingleEntity
from heila_mosaik.study.schema import Scenario

ROOT = Path(__file__).parents[2]


def rows(page):
    """Cells of all table rows of a page."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.fixture(scope="module")
def pages():
    return {name: make() for name, make in PAGES.items()}


def test_every_table_is_well_formed(pages):
    for name, page in pages.items():
        widths = {len(cells) for cells in rows(page)}
        assert 1 <= len(widths) <= 4, name
        for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            assert len({len(cells) for cells in rows(block)}) == 1, f"{name}: {block[:200]}"


def test_every_key_of_every_file_has_a_meaning(pages):
    for name in ("scenario", "microgrids", "sweep-file", "site-file", "point-list"):
        for cells in rows(pages[name]):
            assert cells[-1] or cells[0] == "`type`", f"{name}: {cells}"


def test_every_scenario_key_is_on_the_page(pages):
    parts = [Scenario, *schema._classes(Scenario).values()]
    shown = {cells[0].strip("`") for cells in rows(pages["scenario"])}
    assert {name for part in parts for name in part.model_fields} <= shown


def test_units_stand_in_their_column(pages):
    by_key = {cells[0]: cells for cells in reversed(rows(pages["scenario"]))}
    assert by_key["`duration_h`"][3] == "h"
    assert by_key["`loading_dead_band_percent`"][3] == "%"
    assert by_key["`messages`"][1] == "`object` or `json` or `wire`"


def test_every_simulator_declares_what_it_offers():
    found = dict(simulators.simulators())
    names = {cls.__name__ for cls in found.values()}
    assert {"GridSimulator", "ActorHost", "Recorder", "Telemetry", "Meters", "Profiles", "Simulator"} <= names
    for module, cls in found.items():
        if issubclass(cls, SingleEntity):
            assert simulators.models_of(module), f"{module.__name__} has no table MODELS"


def test_every_field_of_every_message_has_a_meaning_and_powers_have_a_unit(pages):
    for cls in messages.classes():
        section = pages["information-objects"].split(f"\n## {cls.__name__}\n")[1].split("\n## ")[0]
        shown = {cells[0].strip("`"): cells for cells in rows(section)}
        for field in dataclasses.fields(cls):
            assert shown[field.name][4], f"{cls.__name__}.{field.name}"
            if field.name.startswith(("p_", "q_", "price", "energy")) and not field.name.endswith("locations"):
                assert shown[field.name][3], f"{cls.__name__}.{field.name} has no unit"


def test_every_command_is_shown_with_the_options_its_help_knows(pages):
    names = [command.name for command in cli.commands()]
    assert len(names) == len(set(names)) > 20
    for command in cli.commands():
        assert f"## {command.name}\n" in pages["cli"]
        assert command.text, command.name
        assert all(each.meaning for each in command.parameters), command.name
    page = pages["cli"].split("## heila run\n")[1].split("\n## ")[0]
    env = {"COLUMNS": "300", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from heila_mosaik.cli import main; main()", "run", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    offered = set(re.findall(r"--[a-z][a-z-]+", answer.stdout)) - {"--help"}
    assert offered == set(re.findall(r"`(--[a-z][a-z-]+)`", page))


def test_every_error_is_listed_with_its_exit_code(pages):
    listed = {cells[0].strip("`"): cells[2] for cells in rows(pages["errors"])}
    assert listed["ProblemsError"] == "2"
    for cls in errors.errors():
        assert issubclass(cls, HeilaError)
        assert listed[cls.__name__] == str(cls.exit_code)
        assert cls.__doc__
    codes = {str(cls.exit_code) for cls in errors.errors()}
    assert codes <= {cells[0] for cells in rows(cli._HEAD)}


def test_generation_is_the_same_in_another_process(pages, tmp_path):
    code = "import reference, pathlib, sys; reference.write_pages(pathlib.Path(sys.argv[1]))"
    env = {"PYTHONHASHSEED": "2", "PYTHONPATH": f"{ROOT}:{ROOT / 'docs' / '_ext'}", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=env, cwd=ROOT)
    assert {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == pages


def test_a_new_page_lands_in_the_table_of_contents_by_itself(tmp_path):
    for name in ("index", "hil", "congestion", "brand_new"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n")
    found = topics(tmp_path, {"Control room": ("congestion", "absent"), "Wires": ("hil",)}, ("index",))
    assert re.findall(r"^(?!```|:)(\w+)$", found, re.MULTILINE) == ["congestion", "hil", "brand_new"]
    assert ":caption: More" in found
    assert "absent" not in found


@pytest.mark.parametrize(
    ("given", "meaning", "unit"),
    [
        ("Active power. [MW] (n,)", "Active power.", "MW"),
        ("Price. [EUR/MWh] (n,) or empty", "Price.", "EUR/MWh"),
        ("Values. (n,)", "Values.", ""),
        ("Whether it is so.", "Whether it is so.", ""),
        ("Largest lowering (<= 0). [MW]", "Largest lowering (<= 0).", "MW"),
    ],
)
def test_units_are_split_from_meanings(given, meaning, unit):
    assert text.split_unit(given) == (meaning, unit)
