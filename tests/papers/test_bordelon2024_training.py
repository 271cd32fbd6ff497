"""The training figures: a tiny preset of each runs through, the recorded facts say what the pages say."""

import ast
import dataclasses
import json
import pickle
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from isoscale.cli import app
from papers.bordelon2024 import fig1, fig4, figB3
from papers.bordelon2024.finding import of, stays
from papers.bordelon2024.record import GOLDEN, from_json, golden, to_json

NAMES = ("fig1", "fig1b", "fig2", "fig3", "fig4", "figB3", "longer", "deeper")
GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
PAGES = [name for name in NAMES if (GALLERY / f"bordelon2024_{name}.py").exists()]


def module(name):
    return import_module(f"papers.bordelon2024.{name}")


def recorded(name):
    return from_json(module(name).Facts, golden(name))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One folder of runs for all figures: some share them."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_preset_runs_through_and_its_facts_come_back_from_json(name, cache) -> None:
    seen = []
    found = module(name).facts("smoke", lambda done, of: seen.append((done, of)), cache=cache, workers=0)
    assert seen[-1][0] == seen[-1][1] > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seeds = 0
    plain = to_json(found)
    again = from_json(module(name).Facts, plain)
    assert to_json(again) == plain
    assert type(again) is type(found)
    assert module(name).findings(again)
    module(name).draw(again).canvas.draw()


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_named_alike_and_the_large_ones_say_what_they_want(name) -> None:
    presets = module(name).PRESETS
    assert list(presets) == ["smoke", "cpu", "gpu", "full"]
    for large in ("gpu", "full"):
        with pytest.raises(ValueError, match=f"trains on {presets[large]['wants']}, which is not included"):
            module(name).facts(large, workers=0)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_the_recorded_facts_say(name) -> None:
    text = " ".join(ast.get_docstring(ast.parse((GALLERY / f"bordelon2024_{name}.py").read_text())).split())
    for finding in module(name).findings(recorded(name)):
        assert f"{finding.claim}: **{finding.verdict}**" in text


@pytest.mark.parametrize("name", PAGES)
def test_recorded_facts_can_be_drawn(name) -> None:
    assert GOLDEN.presets(name)
    module(name).draw(recorded(name)).canvas.draw()


def test_a_rule_that_drifts_is_not_said_to_transfer() -> None:
    """Control: the numbers of muP without 1/sqrt(L), put where those of depth_mup are, change what is said."""
    for row in recorded("fig4").rows:
        wrong = of(row.drifts, "mup", "depth")
        assert stays("", of(row.drifts, "depth_mup", "depth")).verdict != "does not hold"
        assert stays("", wrong).verdict == "does not hold"
    assert stays("", dataclasses.replace(wrong, outcome="cannot tell")).verdict == "cannot tell"


def test_an_optimum_that_stays_would_be_seen_on_a_third_of_the_steps() -> None:
    facts = recorded("figB3")
    same = dataclasses.replace(facts, shift=((0.0, -0.1, 0.1),) * len(facts.shift))
    unknown = dataclasses.replace(facts, shift=((0.0, -3.0, 3.0),) * len(facts.shift))
    assert [figB3.findings(each)[0].verdict for each in (same, unknown)] == ["holds", "cannot tell"]


def test_a_price_is_only_little_where_its_whole_interval_is() -> None:
    facts = recorded("figB3")
    verdicts = []
    for low, high in ((0.0, 4.0), (1.0, 9.0), (6.0, 9.0), (None, None)):
        saving = dataclasses.replace(facts.savings[0], percent_low=low, percent_high=high)
        verdicts.append(figB3.findings(dataclasses.replace(facts, savings=(saving,)))[1].verdict)
    assert verdicts == ["holds", "cannot tell", "does not hold", "cannot tell"]


def test_momentum_none_has_a_place_on_the_axis() -> None:
    values = fig4.PRESETS["cpu"]["axes"]["momentum"]["values"]
    assert values[0] == 0
    (row,) = (row for row in recorded("fig4").rows if row.hyperparameter == "momentum")
    assert row.curves[0].x == pytest.approx([np.log2(1 / (1 - value)) for value in values])


def write_cifar10(folder):
    """CIFAR-10's layout, forty pictures."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pictures = rng.integers(0, 256, (8, 3072), dtype=np.uint8)
        (folder / name).write_bytes(
            pickle.dumps({b"data": pictures, b"labels": rng.integers(0, 10, 8).tolist()}, protocol=2)
        )
    return folder


def test_reproduce_trains_on_the_folder_it_is_given(tmp_path) -> None:
    data, out = write_cifar10(tmp_path / "cifar"), tmp_path / "out"
    arguments = ["reproduce", "bordelon2024", "fig2", "--preset", "smoke", "--folder", str(out), "--workers", "0"]
    done = CliRunner().invoke(app, [*arguments, "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert (out / "bordelon2024-fig2-smoke.png").stat().st_size > 10_000
    assert (out / "runs" / "bordelon2024.sqlite").exists()
    facts = from_json(module("fig2").Facts, json.loads((out / "bordelon2024-fig2-smoke.json").read_text()))
    digits = module("fig2").facts("smoke", cache=tmp_path / "digits", workers=0)
    assert [curve.loss for curve in facts.curves] != [curve.loss for curve in digits.curves]


def test_reproduce_refuses_images_for_a_figure_of_theory(tmp_path) -> None:
    arguments = ["reproduce", "chizat2025", "fig1", "--preset", "smoke", "--folder", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
    assert done.exit_code != 0
    assert "trains on no images" in str(done.exception) + done.output


def test_the_deepest_network_of_figure_1_is_judged_against_ours() -> None:
    facts = recorded("fig1")
    swapped = {"mup": "depth_mup", "depth_mup": "mup", "sp": "sp"}
    curves = tuple(dataclasses.replace(curve, rule=swapped[curve.rule]) for curve in facts.curves)
    assert fig1.trains_worse(facts).verdict == "holds"
    assert fig1.trains_worse(dataclasses.replace(facts, curves=curves)).verdict == "does not hold"
