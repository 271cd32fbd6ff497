"""HTML that escapes by construction: a `str` becomes text, only `Html` (made by `tag`) goes in as it is."""

import base64
import hashlib
import json
from html import escape
from typing import Any

from isoscale._report.chart import Table

_VOID = frozenset({"meta"})


class Html(str):
    """Markup that is safe to put into a page."""


def tag(element: str, /, *children: str | Html, **attributes: str) -> Html:
    """An element. `class_` and `for_` lose their underscore, other underscores become hyphens; children that are plain
    strings are text."""
    inside = "".join(child if isinstance(child, Html) else escape(child) for child in children)
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    head = element + "".join(f' {key}="{escape(value)}"' for key, value in pairs)
    return Html(f"<{head}>" if element in _VOID else f"<{head}>{inside}</{element}>")


def join(*parts: str | Html) -> Html:
    """The parts one after the other; plain strings are text."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def table(content: Table, *, caption: bool = True) -> Html:
    """A table with a header for every column (where they have names) and every row, in a box that scrolls sideways on a
    narrow screen."""
    titles = tag("tr", *(tag("th", column, scope="col") for column in content.columns))
    head = (tag("thead", titles),) if any(content.columns) else ()
    rows = (
        tag("tr", *(tag("th", cell, scope="row") if i == 0 else tag("td", cell) for i, cell in enumerate(row)))
        for row in content.rows
    )
    title = (tag("caption", content.title),) if caption and content.title else ()
    drawn = tag("table", *title, *head, tag("tbody", *rows))
    note = (tag("p", content.note, class_="note"),) if content.note else ()
    return tag("div", drawn, *note, class_="scroll", role="region", tabindex="0", aria_label=content.title or "table")


def data(identity: str, value: Any) -> Html:
    """A JSON block for the page's script. Nothing in it can close the element or start another."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{escape(identity)}">{text}</script>')


def packed(identity: str, text: str) -> Html:
    """A block of base64 text for the page's script to unpack."""
    return Html(f'<script type="text/plain" id="{escape(identity)}" class="packed">{escape(text)}</script>')


def hashed(code: str) -> str:
    """The source expression with which a Content-Security-Policy lets exactly this code in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
