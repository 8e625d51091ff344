"""Equations become MathML, and one that cannot be translated is a warning that fails the build."""

import logging

import mathml
import pytest
from docutils import nodes


@pytest.mark.parametrize(("block", "display"), [(False, ""), (True, ' display="block"')])
def test_an_equation_becomes_mathml(block, display):
    text = mathml._translated(nodes.math(text=r"\sum_k |I_k(x)| \le I_{\max}"), block=block)
    assert text.startswith(f'<math xmlns="http://www.w3.org/1998/Math/MathML"{display}>')
    assert "<mo>≤</mo>" in text


def test_what_cannot_be_translated_is_shown_and_warned_of(caplog):
    with caplog.at_level(logging.WARNING, "sphinx.mathml"):
        assert mathml._translated(nodes.math(text=r"a < \nonsense"), block=False) == r"<code>a &lt; \nonsense</code>"
    assert "cannot be drawn" in caplog.text
