"""The page: one file, no network, no eval, readable without scripts."""

import json
from collections.abc import Iterable
from pathlib import Path

from isoscale._report import vendored
from isoscale._report.answer import answers, question, why
from isoscale._report.chart import Chart, Table
from isoscale._report.checked import OUTCOMES, check_chart, counted
from isoscale._report.figures import Frames, drift_chart, frames, loss_chart, slope
from isoscale._report.findings import AxisFacts, CheckFacts, ReportFacts, RuleFacts, RuleOverlay
from isoscale._report.forests import answer_chart, cost_chart, cost_table, regret_chart, regret_table
from isoscale._report.html import Html, data, hashed, join, packed, table, tag
from isoscale._report.limits import course_chart, distance_table, limit_chart, limit_table, width_tones
from isoscale._report.svg import svg
from isoscale._report.theme import outcome_tone, size_tone, themes, variables
from isoscale._report.typeset import number, sentence
from isoscale._report.vega import config, spec

_ICONS = {
    "transfers": '<path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0z"/>',
    "drifts": '<path d="M8 0l8 8-8 8-8-8z"/>',
    "unclear": '<path d="M1 1h14v14H1zM3 3v10h10V3z"/>',
}


def write_report(facts: ReportFacts, path: str | Path) -> Path:
    """Write the page and return where it is."""
    destination = Path(path)
    destination.write_text(render(facts), encoding="utf-8")
    return destination


def render(facts: ReportFacts, *, status: str = "", renew: int | None = None) -> str:
    """The page's text: still drawings with their tables, which the script then makes answer to the pointer.

    `status` is a line above everything (how far a running sweep is); the browser asks again after `renew` seconds.
    """
    ink = _Ink()
    body = [
        *((tag("p", status, class_="live", role="status"),) if status else ()),
        _first(facts, ink),
        tag(
            "main",
            *(_optimizer(facts, name, i, ink) for i, name in enumerate(facts.optimizers)),
            *(_checked(check, ink) for check in facts.checks),
            _limits(facts, ink),
            _ran(facts),
            _again(facts),
        ),
        tag(
            "footer",
            tag("p", "Drawn by isoscale. This page is one file and asks for nothing from any network."),
            tag("p", "It contains Vega, Vega-Lite and Vega-Embed (BSD-3-Clause); their licences are in its source."),
        ),
    ]
    style, code = variables() + vendored.asset("page.css"), vendored.asset("page.js")
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy((*vendored.scripts(), code), style)),
        *((tag("meta", http_equiv="refresh", content=str(renew)),) if renew else ()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{question(facts)} {facts.title}"),
        Html(f"<style>{style}</style>"),
    )
    blocks = (
        *(packed(f"library-{index}", text) for index, text in enumerate(vendored.packed_scripts())),
        packed(
            "specs", vendored.pack(json.dumps(ink.specs, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        ),
        data("config", config()),
        data("themes", themes()),
        data("licences", vendored.licences()),
        Html(f"<script>{code}</script>"),
    )
    return "<!doctype html>\n" + tag("html", tag("head", *head), tag("body", *body, *blocks), lang="en") + "\n"


def _policy(codes: Iterable[str], style: str) -> str:
    """What the page may do: run exactly these scripts, use exactly this style, and fetch nothing."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(hashed, codes))}",
            f"style-src {hashed(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


class _Ink:
    """Draws charts and keeps their specifications for the script, in the page's order."""

    def __init__(self) -> None:
        self.specs: list[dict[str, object]] = []

    def figure(self, chart: Chart, *caption: str | Html) -> Html:
        index = len(self.specs)
        self.specs.append(spec(chart))
        box = tag("div", Html(svg(chart)), class_="ink", role="img", aria_label=chart.alt)
        words = (tag("figcaption", *caption),) if caption else ()
        return tag("figure", box, *words, data_chart=str(index))


def _numbers(*charts: Chart | None) -> Html:
    """The tables of the charts above, folded away."""
    return tag("details", tag("summary", "Numbers"), *(table(chart.table) for chart in charts if chart))


def _badge(outcome: str, word: str = "") -> Html:
    tone = outcome_tone(outcome)
    return tag(
        "span",
        Html(f'<svg viewBox="0 0 16 16" aria-hidden="true">{_ICONS[tone]}</svg>'),
        word or outcome,
        class_=f"badge {tone}",
    )


def _first(facts: ReportFacts, ink: _Ink) -> Html:
    chart = answer_chart(facts)
    caption = f"How far the best {facts.hyperparameter} moves each time the size doubles, with 95% intervals."
    if facts.tolerance:
        caption += " Inside the shaded band it counts as staying put."
    head = tag(
        "div",
        tag("p", facts.title, class_="eyebrow"),
        tag("h1", question(facts)),
        *(tag("p", sentence, class_="answer") for sentence in answers(facts.rules, facts.hyperparameter)),
        class_="words",
    )
    reasons = tag(
        "div",
        *(_said(facts, optimizer) for optimizer in facts.optimizers),
        *(tag("p", warning, class_="note") for warning in facts.warnings),
        class_="reasons",
    )
    picture = (tag("div", ink.figure(chart, caption), _numbers(chart), class_="picture"),) if chart else ()
    return tag("header", head, *picture, reasons, class_="first")


def _said(facts: ReportFacts, optimizer: str) -> Html:
    """Each rule's verdict and the sentence of each axis, under the optimizer's name where there is more than one."""
    items = (
        tag("li", tag("span", rule.rule, class_="name"), _badge(rule.outcome), tag("p", why(rule)))
        for rule in facts.under(optimizer)
    )
    title = (tag("h2", f"Verdicts with {optimizer}", class_="small"),) if len(facts.optimizers) > 1 else ()
    return join(*title, tag("ul", *items, class_="says"))


def _optimizer(facts: ReportFacts, optimizer: str, index: int, ink: _Ink) -> Html:
    rules = facts.under(optimizer)
    shared = frames(facts, optimizer)
    axes = dict.fromkeys(axis.axis for rule in rules for axis in rule.axes)
    lead = (
        "A curve is the mean over seeds at one size; a triangle is a loss above the frame. A ring marks a minimum, its "
        "bar the 95% interval. Above each plot, a row for each size: a cross where every run diverged, a stroke where "
        "some did, an upright bar at the stability edge."
    )
    return tag(
        "section",
        tag("h2", f"With {optimizer}"),
        tag("p", lead, class_="lead"),
        *(_axis(facts, rules, name, shared, ink) for name in axes),
        _costs(facts, optimizer, ink),
        id=f"optimizer-{index}",
    )


def _axis(facts: ReportFacts, rules: tuple[RuleFacts, ...], name: str, shared: Frames, ink: _Ink) -> Html:
    pairs = [(rule, axis) for rule in rules for axis in rule.axes if axis.axis == name]
    held = sorted({axis.held for _, axis in pairs if axis.held})
    title = f"Over {name}" + (f", at {' or '.join(held)}" if held else "")
    panels = (_panel(facts, rule, axis, shared, ink) for rule, axis in pairs)
    return tag("section", tag("h3", title), *_legends(pairs), tag("div", *panels, class_="panels"))


def _panel(facts: ReportFacts, rule: RuleFacts, axis: AxisFacts, shared: Frames, ink: _Ink) -> Html:
    loss, drift = loss_chart(facts, rule, axis, shared), drift_chart(facts, rule, axis, shared)
    return tag(
        "article",
        tag("h4", tag("span", rule.rule), _badge(axis.outcome)),
        tag("p", sentence(axis.sentence)),
        ink.figure(loss),
        ink.figure(drift) if drift else tag("p", sentence(slope(axis))),
        _numbers(loss, drift),
        class_="panel",
    )


def _legends(pairs: list[tuple[RuleFacts, AxisFacts]]) -> list[Html]:
    """One legend for all panels where they show the same sizes, else none is wrong for some: one for each set."""
    sets = dict.fromkeys((axis.axis, tuple(axis.size(curve) for curve in axis.curves)) for _, axis in pairs)
    return [
        tag("ul", *(
            tag("li", Html(f'<svg viewBox="0 0 22 12" aria-hidden="true" class="t-{size_tone(rank, len(sizes))}">'
                           '<path d="M1,6H21"/><circle class="ring" cx="11" cy="6" r="4"/></svg>'), f"{name} {size}")
            for rank, size in enumerate(sizes)
        ), class_="legend")
        for name, sizes in sets
    ]  # fmt: skip


def _costs(facts: ReportFacts, optimizer: str, ink: _Ink) -> Html:
    regret, cost = regret_chart(facts, optimizer), cost_chart(facts, optimizer)
    panels = []
    words = f"Extra loss at the largest size, run with the proxy's best {facts.hyperparameter} instead of its own."
    for chart, numbers, title, caption in (
        (regret, regret_table(facts, optimizer), "What carrying costs", words),
        (cost, cost_table(facts, optimizer), "What tuning costs", _cost_words(facts.under(optimizer))),
    ):
        drawn = (ink.figure(chart), _numbers(chart)) if chart else (table(numbers),)
        if chart or numbers.rows:
            panels.append(tag("article", tag("h4", title), tag("p", caption), *drawn, class_="panel short"))
    if not panels:
        return join()
    return tag("section", tag("h3", "Regret and cost"), tag("div", *panels, class_="panels wide"))


def _cost_words(rules: tuple[RuleFacts, ...]) -> str:
    places = next(((rule.proxy.where, rule.direct.where) for rule in rules if rule.proxy and rule.direct), None)
    return f"Hollow: tuning at {places[0]}. Filled: tuning directly at {places[1]}." if places else ""


def _checked(check: CheckFacts, ink: _Ink) -> Html:
    """A coordinate check: the worst lines of each axis against what the rule declares, and the likely culprits."""
    lead = (
        f"Base {check.base}, {check.steps} steps, {check.seeds} seeds. A point is the power of the size with which a "
        "quantity grows, counted from the power that the rule declares; inside the shaded band it is as declared."
    )
    panels = []
    for axis in check.axes:
        chart = check_chart(check, axis)
        if chart is not None:
            words = tag("p", counted(check.along(axis)))
            title = tag("h4", f"Over {axis}")
            panels.append(tag("article", title, words, ink.figure(chart), _numbers(chart), class_="panel short"))
    return tag(
        "section",
        tag("h2", f"Coordinate check: {check.rule} with {check.optimizer} "),
        tag("p", _badge(OUTCOMES[check.outcome], check.outcome), class_="lead"),
        tag("p", lead, class_="lead"),
        *(tag("p", cause, class_="note") for cause in check.causes),
        tag("div", *panels, class_="panels wide"),
    )


def _limits(facts: ReportFacts, ink: _Ink) -> Html:
    """The limits beside the runs, where the caller computed them."""
    if not facts.overlay:
        return join()
    lead = (
        "Dashed: the same training at infinite width, at the depth of the panel, computed by the theory. Full: the "
        "runs, as above. First the loss at the end against the hyperparameter, below it the loss over training."
    )
    return tag(
        "section",
        tag("h2", "Against the limit"),
        tag("p", lead, class_="lead"),
        *(_limit(facts, one, ink) for one in facts.overlay),
        id="limits",
    )


def _limit(facts: ReportFacts, one: RuleOverlay, ink: _Ink) -> Html:
    panels = []
    for limit in one.limits:
        losses, course = limit_chart(facts, one, limit), course_chart(facts, one, limit)
        panels.append(
            tag(
                "article",
                tag("h4", f"Depth {limit.depth}"),
                tag("p", sentence(limit.sentence)),
                ink.figure(losses),
                ink.figure(course),
                _numbers(losses, course),
                class_="panel",
            )
        )
    parts = [tag("h3", f"{one.rule} with {one.optimizer}"), tag("p", sentence(one.sentence), class_="lead")]
    tones = [*((f"width {width}", tone) for width, tone in width_tones(one).items()), ("limit", "ink")]
    parts += [_lines(tones), tag("div", *panels, class_="panels")] if panels else []
    parts += [table(limit_table(facts, one))] if panels else []
    parts += [tag("p", sentence(one.away), class_="lead")] if one.away else []
    parts += [table(distance_table(facts, one))] if one.distances else []
    return tag("section", *parts)


def _lines(tones: Iterable[tuple[str, str]]) -> Html:
    """A legend of lines; the limit's is dashed."""
    return tag("ul", *(
        tag("li", Html(f'<svg viewBox="0 0 22 12" aria-hidden="true" class="t-{tone}">'
                       f'<path d="M1,6H21"{" stroke-dasharray=" + chr(34) + "4 3" + chr(34) if tone == "ink" else ""}/>'
                       "</svg>"), name)
        for name, tone in tones
    ), class_="legend")  # fmt: skip


def _ran(facts: ReportFacts) -> Html:
    ran = facts.ran
    counts = Table(
        f"{ran.runs} runs, {ran.diverged} of them diverged",
        ("rule", "optimizer", "runs", "diverged"),
        tuple((one.rule, one.optimizer, str(one.runs), str(one.diverged)) for one in ran.counts),
    )
    spent = tuple(
        (name, number(value))
        for name, value in (("training FLOPs, all runs", ran.flops), ("seconds, all runs", ran.seconds))
        if value
    )
    parts = [
        table(counts),
        *_pairs("Varied", ran.varied),
        *_pairs("The same in every run", ran.shared),
        *_pairs("Data (name, sha256)", ran.data),
        *_pairs("Versions", ran.versions),
        *_pairs("Spent", spent),
        *(table(one) for one in facts.tables),
    ]
    return tag("section", tag("h2", "What was run"), tag("div", *parts, class_="facts"), id="ran")


def _pairs(title: str, rows: tuple[tuple[str, str], ...], columns: tuple[str, str] = ("", "")) -> tuple[Html, ...]:
    return (table(Table(title, columns, rows)),) if rows else ()


def _again(facts: ReportFacts) -> Html:
    if not facts.reproduce:
        return join()
    lead = "The same specification gives the same runs; finished ones are kept, so a repeated command resumes."
    return tag(
        "section",
        tag("h2", "How to reproduce"),
        tag("p", lead, class_="lead"),
        tag("pre", tag("code", "\n".join(facts.reproduce))),
    )
