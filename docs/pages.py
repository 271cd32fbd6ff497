"""What a gallery page needs: read from the sentence in its docstring, used by conf.py and by the tests.

A page that needs more than the project's own dependencies says so in one sentence of its docstring:
"Needs `transformers`, `accelerate` (extra `trainers`)." It is then run by tests/stack, not by tests/docs, and the
documentation shows it without output where one of the packages is absent.
The packages are import names, as in `import lightning`.
"""

import ast
import importlib.util
import re
from pathlib import Path

GALLERY = Path(__file__).parent / "gallery"
_SENTENCE = re.compile(r"^Needs ((?:`+[\w.]+`+(?:, | and )?)+) \(extra `+\w+`+\)\.", re.MULTILINE)


def pages() -> list[Path]:
    """Every page of the gallery, in the order of their names."""
    return sorted(GALLERY.glob("*.py"))


def needs(page: Path) -> list[str]:
    """The packages that the page's docstring says it needs beyond the project's own; empty for most pages."""
    found = _SENTENCE.search(ast.get_docstring(ast.parse(page.read_text())) or "")
    return re.findall(r"[\w.]+", found[1].replace(" and ", " ")) if found else []


def absent(page: Path) -> list[str]:
    """Those of the page's needs that are not installed here."""
    return [package for package in needs(page) if importlib.util.find_spec(package) is None]


def runnable() -> str:
    """A pattern of the paths of the pages that can be run here (sphinx-gallery's `filename_pattern`)."""
    stems = [re.escape(page.stem) for page in pages() if not absent(page)]
    return rf"[\\/](?:{'|'.join(stems)})\.py$"
