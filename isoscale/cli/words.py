"""Words of a command line as values."""

import ast
from typing import Any


def literal(text: str) -> Any:
    """A number, True, None, a list, as Python writes it; any other word as text."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
