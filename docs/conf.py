"""Sphinx configuration: MyST pages, a gallery whose pages run, a reference from docstrings. Warnings are errors."""

import isoscale

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
    "filename_pattern": r"/[a-z].*\.py",
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
}
# Sphinx cannot pickle a configuration that holds functions; there are none that matter to a rebuild here.
suppress_warnings = ["config.cache"]
