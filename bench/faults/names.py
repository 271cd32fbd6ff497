"""500 hostile names through every door: store, CSV, spec, plan, the commands' words and the report's markup.

    python bench/faults/names.py [--names 500]

Facts: bench/facts/faults_names.json. A name is a fault where it comes back changed, reaches a terminal as a control
character, becomes markup in the page, makes a file outside its folder, or is answered by anything but a sentence.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import torch
from typer.testing import CliRunner

import isoscale
from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale._sweep.template import TEMPLATE
from isoscale.cli import app

FACTS = Path(__file__).parents[1] / "facts" / "faults_names.json"

FAMILIES: dict[str, list[str]] = {
    **json.loads((Path(__file__).parent / "names.json").read_text()),
    "long": ["x" * 1_000_000, "<b>" * 100_000, "é" * 500_000, "a " * 200_000],
}


def names(count: int) -> Iterator[tuple[str, str]]:
    """(family, name): every family's words, then words joined at random, the same for every run."""
    chance = random.Random(7)
    plain = [(family, word) for family, words in FAMILIES.items() for word in words]
    yield from plain[:count]
    short = [pair for pair in plain if len(pair[1]) < 400]
    for _ in range(count - len(plain)):
        (family, one), (_, two) = chance.choice(short), chance.choice(short)
        yield family, chance.choice([one + two, f"mup{one}", f"{one}/{two}", one * 3, f"{two} {one} {two}"])


class Shape(HTMLParser):
    """The page's elements and the names of their attributes, counted; text left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("br",):
            self.found[f"{tag} {' '.join(sorted(name for name, _ in attrs))}"] += 1


def shape(text: str) -> Counter[str]:
    parser = Shape()
    parser.feed(text)
    return parser.found


def runs(name: str) -> list[Run]:
    """A small sweep in which everything that a user names is called `name`."""
    return [
        Run(
            {
                "rule": name,
                "optimizer": name,
                "model": name,
                "data": name,
                "width": width,
                "depth": 2,
                "seed": seed,
                "lr": lr,
            },
            {"train_loss": (width / 8 * 0.01) + (i - 2) ** 2 * 0.1 + seed * 0.001 + 0.5, "test_loss": 1.0},
            steps=5,
            data={"name": name},
            versions={"torch": name},
        )
        for width in (8, 16, 32)
        for seed in (0, 1)
        for i, lr in enumerate((0.01, 0.02, 0.04, 0.08, 0.16))
    ]


def say(*words: str) -> tuple[int, str, str]:
    """Exit code, everything a command printed, and the fault in how it ended."""
    result = CliRunner().invoke(app, list(words))
    error = result.exception
    fault = (
        ""
        if error is None or isinstance(error, SystemExit | ValueError | OSError)
        else f"{type(error).__name__} from {words[0]}"
    )
    return result.exit_code, result.output + ("" if isinstance(error, SystemExit) else str(error or "")), fault


def odd(text: str) -> list[str]:
    return sorted({each for each in text if not each.isprintable() and each != "\n"})


def through_records(name: str, folder: Path) -> Iterator[str]:
    wanted = Records(tuple(runs(name)))
    wanted.to_csv(folder / "runs.csv")
    try:
        back = Records.from_csv(folder / "runs.csv")
    except ValueError as error:
        if odd(str(error)):
            yield f"CSV's sentence has {odd(str(error))}"
        return
    same = [(run.config, run.metrics, run.data) for run in back] == [
        (run.config, run.metrics, run.data) for run in wanted
    ]
    if not same and name == name.strip():
        yield "CSV brought it back changed"


def through_page(name: str, folder: Path, plain: Counter[str]) -> Iterator[str]:
    for words in (("verify", "runs.csv"), ("report", "runs.csv", "-o", "page.html", f"--title={name[:100000]}")):
        _, text, fault = say(*words)
        if fault:
            yield fault
        if words[0] == "verify" and odd(text):
            yield f"{words[0]} printed {odd(text)}"
    page = folder / "page.html"
    if page.exists():
        found = shape(page.read_text(encoding="utf-8"))
        if strange := set(found) - set(plain):
            yield f"the page has new markup: {sorted(strange)[:3]}"
        if found["script "] != plain["script "]:
            yield "the page has another number of scripts"
        if page.stat().st_size > 3_000_000:
            yield f"a page of {page.stat().st_size} bytes"


def through_spec(name: str, folder: Path) -> Iterator[str]:
    quoted = json.dumps(name)
    for old, new in (
        ('["sp", "mup", "depth_mup"]', f"[{quoted}]"),
        ('"residual_mlp"       ', f"{quoted} "),
        ('name = "digits"', f"name = {quoted}"),
    ):
        (folder / "spec.toml").write_text(TEMPLATE.replace(old, new), encoding="utf-8")
        code, text, fault = say("sweep", "spec.toml", "--workers", "0")
        if fault or code == 0:
            yield fault or "a spec with this name was run"
        if odd(text):
            yield f"a spec's sentence has {odd(text)}"


class Named(torch.nn.Module):
    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.add_module(name, torch.nn.Linear(4, width))
        self.add_module("out", torch.nn.Linear(width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for each in self.children():
            x = each(x)
        return x


def through_plan(name: str, folder: Path) -> Iterator[str]:
    if "." in name or name in ("", "out") or len(name) > 10_000:
        return  # torch itself allows no such name; a megabyte in a table tells nothing more
    try:
        made = isoscale.plan(
            lambda width: Named(name, width),
            base={"width": 4},
            target={"width": 8},
            inputs=torch.zeros(2, 4),
            rule="mup",
        )
    except ValueError as error:
        if odd(str(error)):
            yield f"a plan's sentence has {odd(str(error))}"
        return
    for text in (str(made), str(made.explain("out.weight")), str(made.explain(f"{name}.weight"))):
        if odd(text):
            yield f"the printed plan has {odd(text)}"
    made.save(folder / "plan.json")
    if isoscale.Plan.load(folder / "plan.json") != made:
        yield "the plan came back changed"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", type=int, default=500)
    asked = parser.parse_args()
    faults: dict[str, str] = {}
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="names-") as top:
        here = Path(top) / "a" / "b" / "inside"
        here.mkdir(parents=True)
        os.chdir(here)
        Records(tuple(runs("mine"))).to_csv("runs.csv")
        say("report", "runs.csv", "-o", "page.html")
        plain = shape(Path("page.html").read_text(encoding="utf-8"))
        for at, (family, name) in enumerate(names(asked.names)):
            for old in here.iterdir():
                old.unlink()
            doors = (
                through_records(name, here),
                through_page(name, here, plain),
                through_spec(name, here),
                through_plan(name, here),
            )
            for door in doors:
                for fault in door:
                    faults.setdefault(fault, ascii(name[:60]))
            counts[family] += 1
            astray = [str(p) for p in Path(top).rglob("*") if p.is_file() and p.parent != here]
            if astray:
                faults.setdefault(f"made files elsewhere: {astray[:2]}", ascii(name[:60]))
            if at % 50 == 49:
                print(f"{at + 1} names, {len(faults)} kinds of fault", flush=True)
        os.chdir("/")
    for fault, example in faults.items():
        print(f"  {fault}: {example}")
    if asked.names >= 500:
        FACTS.write_text(
            json.dumps({"names": sum(counts.values()), "families": counts, "faults": faults}, indent=1) + "\n"
        )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
