"""The coordinate check on models of other people's: `sp` fails, `mup` fails in depth alone, `depth_mup` passes.

A few kinds that train fast; bench/zoo_checks.py does the same with every model of the zoo.
"""

import importlib
import importlib.util
import warnings

import pytest

from isoscale._check import Check, coord_check
from tests.zoo import own
from tests.zoo.entry import Entry

pytestmark = [pytest.mark.zoo, pytest.mark.filterwarnings("ignore")]

CHOSEN = {
    "own": ("glu", "dit"),
    "timm": ("vit", "vit_layerscale_droppath"),
    "hf": ("gpt2", "llama"),
}


def entry(family: str, name: str) -> Entry:
    if family == "own":
        return next(each for each in own.ENTRIES if each.name == name)
    package, module = {"timm": ("timm", "timm_models"), "hf": ("transformers", "hf")}[family]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'isoscale[zoo]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(each for each in importlib.import_module(f"tests.zoo.{module}").ENTRIES if each.name == name)


def checked(each: Entry, rule: str, axis: str, seeds: int) -> Check:
    wide = "width" if "width" in each.base else "heads"
    key = wide if axis == "widths" else "depth"
    sizes = {axis: {key: [each.base[key] * factor for factor in (1, 2, 4)]}}
    return coord_check(each.build, each.base, **sizes, inputs=each.inputs, rule=rule, seeds=seeds)


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, names in CHOSEN.items() for name in names])
def test_a_model_of_the_zoo(family: str, name: str) -> None:
    each = entry(family, name)
    for axis in ("widths", "depths"):
        assert checked(each, "sp", axis, 2).outcome == "FAIL"
        right = checked(each, "depth_mup", axis, 5)
        assert right.outcome == "PASS", str(right)
        assert not right.causes
    mup = checked(each, "mup", "depths", 2)
    assert mup.outcome == "FAIL", str(mup)
    (cause,) = mup.causes
    assert cause.name == "branch not scaled"
    assert cause.blamed
