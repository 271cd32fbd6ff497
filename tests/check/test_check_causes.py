"""Each way of using a plan wrongly fails, and is blamed on what was done; used rightly, nothing is blamed."""

import pytest
import torch
import wrong_setups
from own_networks import FixedStd, tied, tokens, untied, vectors

from isoscale._check import Check, coord_check
from isoscale._check.reference import reference

DEPTHS = {"preln_mlp": [4, 8, 16], "gpt": [2, 4, 8], "conv_resnet_bn": [2, 4, 8]}


def misused(name: str, axis: str, setup) -> Check:
    known = reference(name, batch=8)
    grids = {"widths": [32, 64, 128]} if axis == "width" else {"depths": DEPTHS[name]}
    return coord_check(
        known.build,
        {"width": 32, "depth": DEPTHS[name][0]},
        **grids,
        inputs=known.inputs,
        targets=known.targets,
        setup=setup,
        seeds=3,
        steps=4,
    )


CASES = [
    ("preln_mlp", "width", "no_readout_multiplier", "readout without 1/width", "readout.weight"),
    ("preln_mlp", "depth", "no_branch_multiplier", "branch not scaled", "blocks.*.contract"),
    ("preln_mlp", "depth", "own_init", "own init kept", "blocks.*.contract"),
    ("preln_mlp", "width", "large_unscaled_eps", "eps dominating", ""),
    ("preln_mlp", "width", "one_rate_by_scheduler", "scheduler overwrote rates", "blocks.*"),
    ("preln_mlp", "width", "one_rate", "rates not planned", "blocks.*"),
    ("gpt", "width", "no_readout_multiplier", "readout without 1/width", "readout.weight"),
    ("conv_resnet_bn", "depth", "no_branch_multiplier", "branch not scaled", "blocks.*.conv2.weight"),
]


@pytest.mark.parametrize(("name", "axis", "setup", "cause", "blamed"), CASES)
def test_a_misused_plan_is_blamed(name: str, axis: str, setup: str, cause: str, blamed: str) -> None:
    check = misused(name, axis, getattr(wrong_setups, setup))
    assert check.outcome == "FAIL", str(check)
    assert [each.name for each in check.causes] == [cause], str(check)
    assert check.causes[0].blamed.startswith(blamed)
    assert cause in str(check)


def test_an_init_of_the_users_own_that_ignores_width_is_named_in_both_axes() -> None:
    sizes = {"widths": [32, 64, 128], "depths": [3, 6, 12]}
    check = coord_check(
        FixedStd, {"width": 32, "depth": 3}, **sizes, inputs=vectors(), setup=wrong_setups.own_init, seeds=3
    )
    assert (check.along("width"), check.along("depth")) == ("FAIL", "FAIL"), str(check)
    assert {(cause.axis, cause.name, cause.blamed) for cause in check.causes} == {
        ("width", "own init kept", "blocks.*.weight"),
        ("depth", "own init kept", "blocks.*.weight"),
    }


def test_a_tied_embedding_that_grows_is_told_from_a_plain_readout() -> None:
    check = coord_check(
        tied,
        {"width": 32, "depth": 2},
        widths=[32, 64, 128],
        inputs=tokens(),
        setup=wrong_setups.no_readout_multiplier,
        seeds=3,
    )
    assert check.outcome == "FAIL", str(check)
    assert [(cause.name, cause.blamed) for cause in check.causes] == [("tied embedding growing", "norm.weight")]


def test_logits_without_their_1_over_d_are_blamed_on_the_queries() -> None:
    def unscaled_queries(plan, model):
        wrong = wrong_setups.unmultiplied(plan, lambda setting: ".q." in setting.name)
        return wrong.optimizer(wrong.init_(model), lr=4 * wrong_setups.LR)

    check = coord_check(
        untied, {"width": 32, "depth": 2}, widths=[32, 64, 128, 256], inputs=tokens(), setup=unscaled_queries, seeds=3
    )
    assert check.outcome == "FAIL", str(check)
    assert [(cause.name, cause.blamed) for cause in check.causes] == [("missing 1/d", "blocks.*.q.weight")]


def test_a_rate_of_the_users_own_for_one_kind_of_parameter_is_no_mistake() -> None:
    def fast_stem(plan, model):
        groups = []
        for group in plan.param_groups(model, lr=wrong_setups.LR):
            for name, parameter in zip(group["param_names"], group["params"]):
                rate = group["lr"] * (3 if "stem" in name else 1)
                groups.append({**group, "params": [parameter], "param_names": [name], "lr": rate})
        plan.init_(model)
        return torch.optim.AdamW(groups)

    check = misused("preln_mlp", "width", fast_stem)
    assert not [cause for cause in check.causes if cause.name == "rates not planned"], str(check)
