"""The page: one file, a strict policy, an outline, tables, and nothing foreign that runs."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from report_sample import known_facts, simulate

from isoscale._report.answer import answers
from isoscale._report.chart import Table
from isoscale._report.html import Html, data, tag
from isoscale._report.page import render, write_report
from isoscale._report.vendored import scripts

HOSTILE = "</script><script>document.documentElement.dataset.taken=1</script><img src=x onerror=alert(1)>'\"&\u2028$ink"


class Reader(HTMLParser):
    """Elements in order, with their attributes and the text inside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[int, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        self.elements.append((f"/{name}", {}))

    def handle_data(self, text):
        index = len(self.elements) - 1
        self.text[index] = self.text.get(index, "") + text

    def all(self, name):
        return [(attributes, self.text.get(i, "")) for i, (e, attributes) in enumerate(self.elements) if e == name]


def policy(page: str) -> dict[str, list[str]]:
    content = next(a["content"] for a, _ in Reader(page).all("meta") if a.get("http-equiv"))
    return {part.split()[0]: part.split()[1:] for part in content.split("; ")}


def unpacked(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def test_the_policy_lets_in_exactly_the_code_and_style_of_the_page(page) -> None:
    rules = policy(page)
    assert rules["default-src"] == ["'none'"]
    reader = Reader(page)
    code = [text for attributes, text in reader.all("script") if "type" not in attributes]
    code += [unpacked(text) for a, text in reader.all("script") if a.get("id", "").startswith("library-")]
    styles = [text for _, text in reader.all("style")]
    for kind, texts in (("script-src", code), ("style-src", styles)):
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts]
        assert sorted(rules[kind]) == sorted(hashes)
    assert "unsafe" not in str(rules)
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}


def test_the_page_refers_to_nothing_outside_itself(page) -> None:
    for name, attributes in Reader(page).elements:
        assert name not in ("img", "link", "iframe", "object", "base", "form")
        assert not {"src", "href", "style", "action"} & set(attributes), (name, attributes)
        assert not [key for key in attributes if key.startswith("on")]


def test_the_outline_goes_down_one_step_at_a_time_and_starts_with_the_question(page) -> None:
    levels = [int(name[1]) for name, _ in Reader(page).elements if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert Reader(page).all("h1")[0][1] == "May I use the small model's lr on the large one?"
    assert Reader(page).all("html")[0][0]["lang"] == "en"


def test_every_figure_has_words_a_still_drawing_and_a_specification(page) -> None:
    reader = Reader(page)
    figures = reader.all("figure")
    boxes = [attributes for attributes, _ in reader.all("div") if attributes.get("class") == "ink"]
    stills = [attributes for attributes, _ in reader.all("svg") if attributes.get("class") == "still"]
    specs = json.loads(unpacked(next(text for a, text in reader.all("script") if a.get("id") == "specs")))
    assert len(figures) == len(boxes) == len(stills) == len(specs) == 1 + 2 * (12 + 2)
    assert all(box["role"] == "img" and len(box["aria-label"]) > 40 for box in boxes)
    assert [int(attributes["data-chart"]) for attributes, _ in figures] == list(range(len(specs)))


def test_the_tables_hold_the_minima_and_the_runs_that_diverged(page) -> None:
    cells = [text for name in ("td", "th") for _, text in Reader(page).all(name)]
    assert "0.00781 (0.00729 to 0.00837)" in cells
    assert "diverged" in cells
    assert [text for text in cells if re.fullmatch(r"[\d.]+ \(\d/3 diverged\)", text)]


def test_the_answer_the_account_and_the_command_are_there(page) -> None:
    reader = Reader(page)
    answer = next(text for attributes, text in reader.all("p") if attributes.get("class") == "answer")
    assert answer == (
        "With adamw and sgd: yes, under depth_mup: the best lr stays put from width 32 to 256 and from depth 3 to 24. "
        "Not under sp or mup (depth), where it drifts."
    )
    assert reader.all("code")[0][1] == "isoscale sweep spec.toml\nisoscale report runs.sqlite"
    cells = [text for name in ("td", "th") for _, text in reader.all(name)]
    assert {"5f3a" * 16, "2.13.0", "cosine", "0, 1, 2", "digits"} <= set(cells)
    assert any("1134 runs" in text for _, text in reader.all("caption"))


def test_foreign_text_stays_text_wherever_it_appears() -> None:
    runs = simulate(rules=(HOSTILE,), optimizers=(HOSTILE,), rates=(0.002, 0.008, 0.03), note=HOSTILE)
    table = Table(HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE)
    facts = known_facts(runs, title=HOSTILE, reproduce=(HOSTILE,), tables=(table,), warnings=(HOSTILE,))
    facts = replace(facts, hyperparameter=HOSTILE, metric=HOSTILE)
    calm, taken = (Reader(render(one)) for one in (known_facts(runs), facts))
    assert not [attributes for attributes, _ in taken.all("img")]
    assert len(taken.all("script")) == len(calm.all("script"))
    assert not [a for _, a in taken.elements if any(key.startswith("on") for key in a)]
    assert taken.all("caption")[-1][1] == HOSTILE
    assert Reader(f"<p>{HOSTILE}</p>").all("img"), "the reader would see a name that is not escaped"


def test_a_json_block_cannot_be_left() -> None:
    block = data("x", {"name": HOSTILE + "<!--"})
    inside = re.fullmatch(r'<script type="application/json" id="x">(.*)</script>', block)[1]
    assert not set("<>&\u2028\u2029") & set(inside)
    assert json.loads(inside) == {"name": HOSTILE + "<!--"}


def test_only_markup_made_here_goes_in_as_markup() -> None:
    assert tag("p", "<b>", Html("<i>x</i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i>x</i></p>'


@pytest.mark.parametrize("rules", [3, 8])
def test_the_page_stays_small_and_does_not_grow_with_seeds(rules) -> None:
    sizes = tuple(32 * 2**k for k in range(9)), tuple(3 * 2**k for k in range(9))
    names = ["sp", "mup", *(f"rule_{i}" for i in range(rules - 2))]
    shape = {"rules": names, "optimizers": ("adamw", "sgd"), "widths": sizes[0], "depths": sizes[1]}
    small, large = (render(known_facts(simulate(**shape, seeds=seeds))) for seeds in (2, 4))
    assert len(large.encode()) < 1_000_000
    assert len(large) - len(small) < 0.03 * len(small)


def test_the_same_facts_give_the_same_page(known, page, tmp_path) -> None:
    path = write_report(known, tmp_path / "report.html")
    assert path.read_text("utf-8") == page
    assert render(replace(known, title="another")) != page


def test_the_code_of_the_page_holds_no_end_of_script(page) -> None:
    assert not [code for code in scripts() if re.search(r"</script|<!--", code, re.IGNORECASE)]
    assert page.count("</script") == page.count("<script")


@pytest.mark.parametrize(
    ("outcomes", "answer"),
    [
        (("drifts", "drifts"), "No: the best lr drifts under sp and mup."),
        (("drifts", "cannot tell"), "Not under sp, where the best lr drifts. For mup, these runs cannot tell."),
        (("cannot tell", "cannot tell"), "These runs cannot tell under sp or mup."),
        (("cannot tell", "transfers"), "Yes, under mup: the best lr stays put from width 32 to 256 and from depth "
         "3 to 24. For sp, these runs cannot tell."),
    ],
)  # fmt: skip
def test_the_answer_follows_the_verdicts(known, outcomes, answer) -> None:
    rules = known.under("adamw")[:2]
    judged = [
        replace(rule, outcome=outcome, axes=tuple(replace(axis, outcome=outcome) for axis in rule.axes))
        for rule, outcome in zip(rules, outcomes)
    ]
    assert answers(judged, "lr") == (answer,)
