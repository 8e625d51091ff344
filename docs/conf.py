"""Sphinx configuration.  ``make docs`` builds the site; warnings are errors there."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1])]

from heila_mosaik._version import __version__  # noqa: E402 - the path comes first

project = "heila-mosaik"
author = "heila-mosaik contributors"
copyright = author  # noqa: A001 - the name Sphinx wants
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "reference",
]
exclude_patterns = ["_build", "_ext", "examples/*.md"]
myst_enable_extensions = ["deflist", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
highlight_language = "text"
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "undoc-members": False, "exclude-members": "__init__"}
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Pages on one topic each stand in docs/ under any name; groups order them, and whatever is in no group comes last.
topic_groups = {
    "Control room": ("estimation", "forecast", "congestion", "voltvar", "peak", "restoration", "reserves"),
    "Wires and laboratories": ("communication", "live", "transfer_times", "hil", "hil-run"),
    "Studies": ("scenarios", "sweeps"),
    "Project": ("architecture", "roadmap"),
}
topics_elsewhere = ("index", "tutorial", "concepts", "validation", "messages", "message-forms")

html_math_renderer = "mathml"  # no script, no network
html_theme = "furo"
html_title = f"heila-mosaik {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
