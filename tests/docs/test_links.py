"""The check of internal links finds what is broken and nothing else."""

import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "check_links.py"


def check_links():
    spec = importlib.util.spec_from_file_location("check_links", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def site(folder, index, **others):
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "index.html").write_text(index)
    (folder / "sub" / "page.html").write_text("<h1 id='top'>x</h1><a href='../index.html'>back</a>")
    for name, text in others.items():
        (folder / f"{name}.html").write_text(text)
    return folder


def test_sound_links_pass(tmp_path):
    links = "sub/page.html", "sub/page.html#top", "#here", "https://example.org/#nowhere", "mailto:a@b.c"
    index = "<p id='here'></p>" + "".join(f"<a href='{link}'>x</a>" for link in links)
    assert check_links().broken_links(site(tmp_path, index)) == []


def test_broken_pages_anchors_and_pictures_are_named_with_their_line(tmp_path):
    index = (
        "\n<a href='gone.html'>x</a>\n<a href='sub/page.html#bottom'>x</a>\n<img src='gone.png'>\n<a href='#no'>x</a>"
    )
    found = check_links().broken_links(site(tmp_path, index))
    assert found == [
        "index.html:2: gone.html (no such page)",
        "index.html:3: sub/page.html#bottom (no such anchor)",
        "index.html:4: gone.png (no such page)",
        "index.html:5: #no (no such anchor)",
    ]


def test_the_command_fails_when_something_is_broken(tmp_path):
    for index, code in (("<a href='sub/page.html'>x</a>", 0), ("<a href='gone.html'>x</a>", 1)):
        done = subprocess.run([sys.executable, SCRIPT, site(tmp_path, index)], capture_output=True, check=False)
        assert done.returncode == code
