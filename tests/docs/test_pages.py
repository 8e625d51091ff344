"""Every page: examples run, and what is not run is at least possible (options exist, files exist, code compiles)."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from reference import cli, schema
from ruamel.yaml import YAML

from heila_mosaik.study.schema import Scenario
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, run_page, spans, workspace

COMMANDS = {command.name: command for command in cli.commands()}
RUN = [page for page in PAGES if any(block.kind == "run" for block in blocks(page))]
HIDDEN = {"--debug", "--help", "--version"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = workspace(tmp_path / "checkout")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


@pytest.mark.parametrize("page", RUN, ids=named)
def test_marked_examples_run(page, here):
    assert run_page(page, here) > 0


def test_the_tutorial_and_every_how_to_have_something_that_runs():
    pages = {named(page) for page in RUN}
    wanted = {"docs/tutorial.md", *(named(p) for p in PAGES if p.parent.name == "howto" and p.stem != "live-actors")}
    assert wanted <= pages


def heila_lines(page):
    for block in blocks(page):
        if block.language == "console":
            for command, _ in commands(block):
                for part in re.split(r"[|&]\s", command.split("\n")[0] if "<<" in command else command):
                    words = shlex.split(part.replace("\\\n", " "), comments=True)
                    if words and words[0] == "heila":
                        yield block, [word for word in words if word != "..."]


def options_of(command):
    return {name: option for option in command.parameters if not option.argument for name in option.names}


def command_of(words):
    name = words[0]
    for word in words[1:]:
        if f"{name} {word}" not in COMMANDS:
            break
        name += f" {word}"
    return COMMANDS[name]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_have_the_options_they_are_shown_with(page):
    for block, words in heila_lines(page):
        command = command_of(words)
        options = options_of(command)
        given = words[len(command.name.split()) :]
        takes_value = False
        arguments = 0
        for word in given:
            if takes_value:
                takes_value = False
            elif word.startswith("-") and word not in HIDDEN:
                assert word in options, f"{block.where}: {command.name} has no option {word}"
                takes_value = bool(options[word].value)
            elif word not in HIDDEN:
                arguments += 1
        if command.group:
            assert HIDDEN & set(given), f"{block.where}: {' '.join(words)} names no command"
            continue
        wanted = [parameter for parameter in command.parameters if parameter.argument]
        least = sum(parameter.required for parameter in wanted)
        if "--show-job" not in given and "--menu" not in given:
            assert arguments >= least, f"{block.where}: {' '.join(words)} lacks an argument"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_shipped_files_that_examples_name_exist(page):
    text = page.read_text(encoding="utf-8")
    made = set(re.findall(r"<!-- file: (\S+) -->", text)) | set(re.findall(r"heila new \w+ (\S+)", text))
    pattern = r"(?:scenarios|studies|docs/examples|benchmarks|tests|tools)/[\w./-]+\.(?:yaml|py|csv)"
    for path in set(re.findall(pattern, text)) - made:
        assert (ROOT / path).is_file(), f"{named(page)} names {path}"
    for module in re.findall(r"python -m (benchmarks\.\w+|heila_mosaik[\w.]*)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), f"{named(page)}: {module}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_the_text_exist_with_their_options(page):
    for span in spans(page):
        if span.startswith("heila "):
            words = span.split()
            command = command_of(words)
            assert not command.group or len(words) == len(command.name.split()), f"{named(page)}: {span}"
            for word in words:
                if word.startswith("-") and word not in HIDDEN:
                    assert word.partition("=")[0] in options_of(command), f"{named(page)}: {span}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_tests_and_benchmarks_that_pages_name_exist(page):
    text = page.read_text(encoding="utf-8")
    for path, keywords in re.findall(r"`(tests/[\w/.]+)(?: -k \"?([\w ]+)\"?)?`", text):
        assert (ROOT / path).exists(), f"{named(page)}: {path}"
        tests = re.findall(r"def (test_\w+)", (ROOT / path).read_text(encoding="utf-8")) if keywords else []
        for word in keywords.split(" or ") if keywords else ():
            assert any(word in name for name in tests), f"{named(page)}: {path} -k {word}"
    for module, options in re.findall(r"python -m benchmarks\.(\w+)([^`\n]*)", text):
        source = (ROOT / "benchmarks" / f"{module}.py").read_text(encoding="utf-8")
        for option in re.findall(r"--[a-z-]+", options):
            assert f'"{option}"' in source, f"{named(page)}: benchmarks.{module} has no option {option}"


def test_the_validation_page_names_every_benchmark():
    text = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks").glob("*.py"):
        if "__main__" in path.read_text(encoding="utf-8"):
            assert f"benchmarks.{path.stem}" in text, path.stem


def test_the_page_of_scenarios_shows_every_shipped_one():
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    rows, headings = (set(re.findall(pattern, text, re.MULTILINE)) for pattern in (r"^\| `(\w+)` \|", r"^## (\w+)$"))
    shipped = {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}
    assert rows == headings
    assert rows <= shipped
    assert {name for name in shipped - rows if not name.startswith("multipower_hil")} == set()


def scenario_keys():
    """Dotted keys of the scenario that a setting may name; maps have free keys."""
    return {*re.findall(r"^## ([\w.]+)", schema.scenario_page(), re.MULTILINE), *Scenario.model_fields}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_of_examples_name_keys_that_exist(page):
    text = page.read_text(encoding="utf-8")
    wrong = {block.text for block in blocks(page) if block.what.startswith("exit")}
    for block in wrong:
        text = text.replace(block, "")
    for key in re.findall(r"--set[ \"]+([a-z_0-9.]+)=", text):
        parent, _, name = key.rpartition(".")
        assert not parent or parent in scenario_keys(), f"{named(page)}: {key}"
        page_of_keys = schema.scenario_page()
        section = page_of_keys.split(f"\n## {parent}\n")[1].split("\n## ")[0] if parent else page_of_keys
        assert f"| `{name}` |" in section, f"{named(page)}: --set {key}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_and_yaml_blocks_are_well_formed(page):
    for block in blocks(page):
        if block.language == "python":
            compile_example(block)
        elif block.language == "yaml":
            YAML(typ="safe", pure=True).load(block.text)


def compile_example(block: Block) -> None:
    """Code that runs inside a coroutine is shown without it."""
    flags = __import__("ast").PyCF_ALLOW_TOP_LEVEL_AWAIT
    compile("\n" * block.line + block.text, named(block.page), "exec", flags)


def test_a_wrong_example_does_not_pass(tmp_path, monkeypatch):
    folder = workspace(tmp_path / "checkout")
    monkeypatch.chdir(folder)
    page = ROOT / "docs" / "wrong.md"

    for text in (
        "<!-- run -->\n```console\n$ heila check scenarios/test_cycle.yaml\nsomething else\n```\n",
        "<!-- run -->\n```console\n$ heila check nowhere.yaml\n```\n",
        "<!-- run: exit 2 -->\n```console\n$ heila --version\n```\n",
        "<!-- run -->\n```console\n$ false\n```\n",
        "<!-- run -->\n```python\nassert 1 > 2\n```\n",
    ):
        with monkeypatch.context() as patch:
            patch.setattr("tests.docs.pages.blocks", lambda _page, text=text: _blocks_of(text, page))
            with pytest.raises(AssertionError):
                run_page(page, folder)


def _blocks_of(text, page):
    class Text:
        def read_text(self, encoding):
            return text

        def relative_to(self, root):
            return page.relative_to(root)

        def __str__(self):
            return str(page)

    return blocks(Text())
