"""Sphinx extension: equations as MathML, which browsers draw by themselves, without a script and without a network.

The translation from LaTeX is that of docutils; what it does not know is a warning, and so fails the build.
"""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

_logger = logging.getLogger(__name__)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_translated(node, block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_translated(node, block=True)}</div>\n')
    raise nodes.SkipNode


def _translated(node: nodes.math | nodes.math_block, *, block: bool) -> str:
    try:
        return str(tex2mathml(node.astext(), as_block=block))
    except (MathError, SyntaxError) as error:
        _logger.warning("equation cannot be drawn: %s", error, location=node)
        return f"<code>{escape(node.astext())}</code>"
