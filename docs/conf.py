"""Sphinx configuration: MyST pages, a gallery whose pages run, a reference from docstrings. Warnings are errors."""

import re
import sys
from pathlib import Path
from typing import Any

import isoscale

sys.path.insert(0, str(Path(__file__).parent))
from pages import runnable

project = "isoscale"
author = "the isoscale authors"
version = release = isoscale.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "gallery/*.md", "LOG.md.part"]
html_theme = "furo"
html_title = "isoscale"
html_static_path: list[str] = []
autodoc_member_order = "bysource"
autodoc_typehints = "description"
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "gallery_built",
    # A page whose extra is absent is shown, but not run.
    "filename_pattern": runnable(),
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
}
# Sphinx cannot pickle a configuration that holds functions; there are none that matter to a rebuild here.
suppress_warnings = ["config.cache"]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain_text)


def plain_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code` in backticks: keep their equations and indented lines as they stand."""
    paragraphs = "\n".join(lines).strip().split("\n\n")
    lines[:] = [*"\n\n".join(_paragraph(each) for each in paragraphs).split("\n"), ""]


def _paragraph(text: str) -> str:
    if text.lstrip().startswith(">>>"):
        return text
    escaped = re.sub(r"`+([^`]+)`+", r"``\1``", re.sub(r"([*|\\]|_(?=\W|$))(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", text))
    rows = escaped.split("\n")
    return "\n".join(f"| {row}" for row in rows) if any(row.startswith(" ") for row in rows) else escaped
