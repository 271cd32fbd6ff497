"""`isoscale theory predict`: the limit over a user's runs, and the distance told for every model."""

import json
from pathlib import Path

import pytest

from isoscale._report import RuleOverlay
from isoscale.theory.dmft.course import at_infinite_depth
from tests.cli.test_cli import isoscale

SPEC = """
rules = ["depth_mup", "sp"]
seeds = 2
[store]
path = "runs.sqlite"
[model]
name = "residual_mlp"
[data]
name = "teacher"
[base]
width = 8
depth = 2
[sizes]
widths = [8, 16]
depths = [2, 4]
[optimizers.sgd]
lr = {{ log2 = [-7, 1], step = 2 }}
weight_decay = {decay}
[optimizers.adamw]
lr = {{ log2 = [-8, -4], step = 2 }}
[train]
steps = 8
batch_size = 32
evaluations = 2
schedule = "cosine"
"""


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    (folder / "spec.toml").write_text(SPEC.format(decay=0.1))
    swept = isoscale("sweep", "spec.toml", "--workers", "0", folder=folder)
    assert swept.returncode == 0, swept.stderr
    found = isoscale("theory", "predict", "spec.toml", "--width", "32", "--json", folder=folder)
    assert found.returncode == 0, found.stderr
    (folder / "facts.json").write_text(found.stdout)
    return folder


def test_the_limit_is_drawn_where_there_is_one_and_left_out_with_a_sentence_elsewhere(predicted: Path) -> None:
    by = {(one["rule"], one["optimizer"]): one for one in json.loads((predicted / "facts.json").read_text())}
    assert set(by[next(iter(by))]) == set(RuleOverlay.__dataclass_fields__)
    ours = by["depth_mup", "sgd"]
    assert [limit["depth"] for limit in ours["limits"]] == [2, 4]
    assert [[curve["width"] for curve in limit["curves"]] for limit in ours["limits"]] == [[8, 16], [8]]
    assert [len(limit["points"]) for limit in ours["limits"]] == [5, 5]
    assert all(limit["points"][0]["loss"] > 0 for limit in ours["limits"])
    for key, word in ((("sp", "sgd"), "sp"), (("depth_mup", "adamw"), "adamw"), (("sp", "adamw"), "adamw")):
        assert not by[key]["limits"]
        assert "no limit is drawn" in by[key]["sentence"]
        assert word in by[key]["sentence"]
    for one in by.values():
        assert "tends to" in one["away"]
        assert len(one["distances"]) == 3


def test_the_page_shows_it(predicted: Path) -> None:
    page = (predicted / "predict.html").read_text()
    for text in ("Against the limit", "Depth 4", "no limit is drawn".capitalize(), "isoscale theory predict"):
        assert text in page, text
    assert isoscale("report", "spec.toml", folder=predicted).returncode == 0
    assert "Against the limit" not in (predicted / "report.html").read_text()


def test_nothing_run_yet_is_told(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC.format(decay=0.0))
    found = isoscale("theory", "predict", "spec.toml", folder=tmp_path)
    assert found.returncode == 70
    assert "runs.sqlite" in found.stderr
    assert isoscale("theory", "predict", folder=tmp_path).returncode == 64


def test_the_rate_at_infinite_depth_is_the_fits_constant() -> None:
    depths = [4, 8, 16]
    log2 = [-3 + 1.0 / L for L in depths]
    found = at_infinite_depth(depths, log2, [0.1, 0.1, 0.1])
    assert found is not None
    assert found[0] == pytest.approx(-3)
    assert found[1] > 0.05
    assert at_infinite_depth([4], [0.0], [0.1]) is None
