"""The page in a browser: drawn, quiet, asking for nothing; on a phone, in the dark, without scripts."""

import re
from dataclasses import replace

import pytest
from report_sample import known_facts, simulate
from test_report_page import HOSTILE

from isoscale._report.page import render

pytestmark = pytest.mark.browser

DRAWN = "document.querySelectorAll('.ink.drawn .stage svg .mark-symbol path').length"
CARD = "getComputedStyle(document.querySelector('.panel')).backgroundColor"


@pytest.fixture
def opened(browser, tmp_path):
    pages = []

    def open_(text, **how):
        file = tmp_path / f"report-{len(pages)}.html"
        file.write_text(text, encoding="utf-8")
        pages.append(browser.open(file, **how))
        return pages[-1], file.as_uri()

    yield open_
    for page in pages:
        page.close()


def test_every_figure_is_drawn_without_a_complaint_or_a_request(opened, page) -> None:
    seen, address = opened(page)
    assert seen.evaluate("document.documentElement.dataset.drawn") == "29"
    assert seen.evaluate(DRAWN) > 500
    assert seen.evaluate("getComputedStyle(document.querySelector('.still')).visibility") == "hidden"
    assert seen.complaints == []
    assert seen.requests == [address]


def test_the_watch_sees_a_request_and_code_that_the_policy_stops(opened, page) -> None:
    intruder = '<img src="http://127.0.0.1:9/x.png"><script>document.body.dataset.taken=1</script></body>'
    seen, _ = opened(page.replace("</body>", intruder))
    assert seen.evaluate("document.body.dataset.taken") is None
    assert len([text for text in seen.complaints if "Content Security Policy" in text]) >= 2
    free, address = opened(
        re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", intruder)
    )
    assert free.evaluate("document.body.dataset.taken") == "1"
    assert free.requests == [address, "http://127.0.0.1:9/x.png"]


def test_without_scripts_the_still_drawings_show_the_minima(opened, page) -> None:
    seen, address = opened(page, scripts=False)
    assert seen.evaluate("document.documentElement.dataset.drawn") is None
    assert seen.evaluate("document.querySelectorAll('.stage').length") == 0
    assert seen.evaluate("document.querySelectorAll('.still .ring').length") == 12 * 4 + 2 * 3
    assert seen.evaluate("getComputedStyle(document.querySelector('.still')).visibility") == "visible"
    assert seen.requests == [address]


@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_is_wider_than_a_phone(opened, page, scripts) -> None:
    seen, _ = opened(page, width=360, scripts=scripts)
    assert seen.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    wide, _ = opened(page.replace("<h1>", '<h1><svg width="500" height="9"></svg>'), width=360, scripts=scripts)
    assert wide.evaluate("document.documentElement.scrollWidth") > 360


def test_the_dark_page_has_dark_figures(opened, page) -> None:
    ink = "document.querySelector('.stage .role-axis-label text').getAttribute('fill')"
    colours = []
    for dark in (False, True):
        seen, _ = opened(page, dark=dark)
        colours.append((seen.evaluate(CARD), seen.evaluate(ink)))
    assert colours == [("rgb(255, 255, 255)", "#5a606b"), ("rgb(26, 29, 34)", "#a3a9b4")]


def test_pointing_at_a_mark_tells_its_numbers(opened, page) -> None:
    seen, _ = opened(page)
    seen.evaluate("document.querySelectorAll('figure')[1].scrollIntoView({block: 'center', behavior: 'instant'})")
    middle = "(e => [e.x + e.width / 2, e.y + e.height / 2])"
    mark = (
        "document.querySelectorAll('figure')[1].querySelectorAll('.stage .mark-symbol path')[3].getBoundingClientRect()"
    )
    seen.point(*seen.evaluate(f"{middle}({mark})"))
    seen.evaluate("new Promise(resolve => setTimeout(resolve, 200))")
    told = seen.evaluate("document.querySelector('#vg-tooltip-element').innerText")
    assert "width 32" in told
    assert re.search(r"lr 0\.0039\d+\s+shows\s+train loss 0\.4\d+", told)
    assert seen.complaints == []


def test_hostile_names_neither_run_nor_break_the_page(opened) -> None:
    runs = simulate(rules=(HOSTILE,), rates=(0.002, 0.008, 0.03), note=HOSTILE)
    facts = replace(known_facts(runs, title=HOSTILE, warnings=(HOSTILE,)), hyperparameter=HOSTILE, metric=HOSTILE)
    seen, address = opened(render(facts))
    assert seen.complaints == []
    assert seen.evaluate("document.documentElement.dataset.taken") is None
    assert seen.evaluate("document.querySelectorAll('img').length") == 0
    assert int(seen.evaluate("document.documentElement.dataset.drawn")) == seen.evaluate(
        "document.querySelectorAll('figure').length"
    )
    assert seen.complaints == []
    assert seen.requests == [address]
