"""Reference networks: `depth_mup` passes in width and depth, `mup` fails in depth, `sp` in both."""

import json

import pytest
from own_networks import HiddenGrowth, Plain, tied, tokens, vectors
from wrong_setups import LR, own_init

from isoscale._check import Check, coord_check
from isoscale._check.reference import reference
from isoscale._plan import plan

SIZES = {
    "residual_mlp": ([64, 128, 256], [4, 8, 16]),
    "preln_mlp": ([32, 64, 128], [4, 8, 16]),
    "conv_resnet": ([32, 64, 128], [3, 6, 12]),
    "conv_resnet_bn": ([16, 32, 64], [3, 6, 12]),
    "vit": ([32, 64, 128], [2, 4, 8]),
    "gpt": ([32, 64, 128], [2, 4, 8]),
}


def checked(name: str, rule: str, *, axes: str = "width depth", batch: int = 4, **how) -> Check:
    known = reference(name, batch=batch)
    widths, depths = SIZES[name]
    grids = {"widths": widths if "width" in axes else (), "depths": depths if "depth" in axes else ()}
    base = {"width": widths[0], "depth": depths[0]}
    return coord_check(known.build, base, **grids, inputs=known.inputs, targets=known.targets, rule=rule, lr=LR, **how)


def unsettled(check: Check) -> list[str]:
    return [f"{line.axis} {line.quantity.label}: {line.sentence}" for line in check.lines if line.outcome == "FAIL"]


@pytest.mark.parametrize("name", ["residual_mlp", "preln_mlp", "conv_resnet_bn"])
def test_depth_mup_passes_in_width_and_in_depth(name: str) -> None:
    check = checked(name, "depth_mup")
    assert check.outcome == "PASS", str(check)
    assert not check.causes


@pytest.mark.parametrize(("name", "axis"), [("conv_resnet", "depth"), ("vit", "depth"), ("gpt", "width")])
def test_depth_mup_passes_along_one_axis(name: str, axis: str) -> None:
    check = checked(name, "depth_mup", axes=axis, batch=8)
    assert check.outcome == "PASS", str(check)


@pytest.mark.parametrize("name", ["residual_mlp", "conv_resnet_bn", "gpt"])
def test_standard_parameterization_fails_in_width_and_in_depth(name: str) -> None:
    check = checked(name, "sp", seeds=2, steps=3)
    assert (check.along("width"), check.along("depth")) == ("FAIL", "FAIL"), str(check)
    assert {(cause.axis, cause.name) for cause in check.causes} == {
        ("width", "rates not planned"),
        ("depth", "branch not scaled"),
    }


@pytest.mark.parametrize("name", ["conv_resnet", "vit"])
def test_mup_fails_in_depth(name: str) -> None:
    check = checked(name, "mup", axes="depth", seeds=2, steps=3)
    assert check.outcome == "FAIL", str(check)
    (cause,) = check.causes
    assert cause.name == "branch not scaled"
    assert "depth_mup" in cause.sentence


def test_mup_passes_in_width() -> None:
    check = checked("preln_mlp", "mup", axes="width")
    assert check.outcome == "PASS", str(check)


def test_a_readout_that_starts_at_zero_is_no_vanishing_output() -> None:
    known = reference("preln_mlp", batch=4, zero_readout=True)
    check = coord_check(
        known.build,
        {"width": 32, "depth": 4},
        widths=[32, 64, 128],
        inputs=known.inputs,
        targets=known.targets,
        lr=LR,
        most_seeds=5,
    )
    (start,) = check.select(kind="output", moment="init")
    assert (start.outcome, start.sentence) == ("SHOWN", "zero at every size")
    assert not unsettled(check), str(check)


def test_completep_has_smaller_branches_and_moves_their_insides() -> None:
    check = checked("preln_mlp", "completep", axes="depth")
    assert check.outcome == "PASS", str(check)
    slopes = {line.quantity.place: line.slope.estimate for line in check.select(kind="update") if line.slope}
    assert slopes["of blocks.*.expand.weight"] == pytest.approx(0.0, abs=0.1)
    assert slopes["of blocks.*.contract.weight"] == pytest.approx(-1.0, abs=0.1)


def test_sgd_passes_too() -> None:
    known = reference("preln_mlp", batch=32)
    check = coord_check(
        known.build,
        {"width": 64, "depth": 4},
        widths=[64, 128, 256],
        inputs=known.inputs,
        targets=known.targets,
        optimizer="sgd",
        lr=0.1,
        momentum=0.9,
    )
    assert not unsettled(check), str(check)


def test_the_output_alone_would_not_show_a_stream_that_grows_27_fold() -> None:
    check = coord_check(
        HiddenGrowth, {"width": 64, "depth": 4}, depths=[4, 8, 16, 24], inputs=vectors(), setup=own_init, seeds=3
    )
    stream = check.select(kind="stream", moment="init")[-1]
    first, *_, last = (sum(row) / len(row) for row in stream.values)
    assert last / first > 27
    assert stream.outcome == "FAIL"
    assert check.select(kind="branch", outcome="FAIL")
    assert not check.select(kind="output", outcome="FAIL"), "whoever looks at the output alone sees nothing wrong"


def test_a_network_without_branches_is_checked_in_width() -> None:
    check = coord_check(Plain, {"width": 32}, widths=[32, 64, 128], inputs=vectors())
    assert check.outcome == "PASS", str(check)
    assert not check.select(kind="stream")
    assert check.along("depth") is None


def test_multipliers_that_a_norm_or_a_query_carries_are_not_taken_for_vanishing() -> None:
    check = coord_check(tied, {"width": 32, "depth": 2}, widths=[32, 64, 128], inputs=tokens(), most_seeds=5)
    assert not unsettled(check), str(check)
    moving = {line.quantity.place: line.outcome for line in check.select(kind="update")}
    assert moving["of norm.weight"] == moving["of blocks.*.q.weight"] == "PASS"


def test_a_ready_plan_says_what_to_check_and_the_record_is_json() -> None:
    base = {"width": 32}
    ready = plan(Plain, base, {"width": 512}, inputs=vectors(), rule="mup", optimizer="adam")
    told: list[tuple[int, int]] = []
    check = coord_check(
        Plain,
        ready,
        widths=[32, 64, 128],
        inputs=vectors(),
        seeds=2,
        most_seeds=2,
        steps=2,
        progress=lambda done, count, what: told.append((done, count)),
    )
    assert (check.rule, check.optimizer, dict(check.base)) == ("mup", "adam", base)
    assert told[-1] == (9, 9)
    record = json.loads(check.to_json())
    assert len(record["lines"]) == len(check.lines)
    assert all(line.quantity.label in check.table() for line in check.lines if line.quantity.kind != "gradient")
    (figure,) = check.figure_specs()
    json.dumps(figure, allow_nan=False)
    judged = [line for line in check.lines if line.declared is not None]
    assert len(figure["data"]["values"]) == 3 * len(judged)
    assert all(row["relative"] == 1.0 for row in figure["data"]["values"] if row["size"] == 32)
