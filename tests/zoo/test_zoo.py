"""Every model of the zoo: the right streams, the right refusals, and a fold that is exact in float64."""

import fnmatch
import importlib
import importlib.util
import warnings

import pytest

from isoscale._plan.proof import prove
from isoscale._plan.structure import StructureError, describe
from tests.zoo import own
from tests.zoo.entry import Entry

# Sentences of other people's code during import or a forward pass; none of them is ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def check(entry: Entry) -> None:
    if entry.error is not None:
        with pytest.raises(StructureError, match=entry.error):
            describe(entry.build, entry.base, entry.target, entry.inputs, postnorm=entry.postnorm, roles=entry.told)
        return
    found = describe(entry.build, entry.base, entry.target, entry.inputs, postnorm=entry.postnorm, roles=entry.told)
    assert tuple((stream.base_depth, stream.depth) for stream in found.streams.values()) == entry.depths
    refused = [branch for branch in found.branches if branch.refusal is not None]
    assert len(refused) == entry.refused
    assert all(branch.tails for branch in found.branches if branch.refusal is None)
    for glob, role in entry.roles.items():
        names = fnmatch.filter(found.parameters, glob)
        assert names, glob
        assert {found.parameters[name].role for name in names} == {role}, glob
    for glob in entry.tails:
        names = fnmatch.filter(found.parameters, glob)
        assert names, glob
        assert all(found.parameters[name].tail for name in names), glob
    for name in entry.readout:
        assert found.parameters[name].readout, name
    proof = prove(entry.build, entry.base, entry.inputs, found)
    assert proof.error <= 1e-10, str(proof)
    assert proof.change > 1e-6 or proof.branches + proof.readouts == 0, str(proof)


@pytest.mark.parametrize("entry", own.ENTRIES, ids=lambda entry: entry.name)
def test_own(entry: Entry) -> None:
    check(entry)


def entries(module: str, package: str) -> list:
    if importlib.util.find_spec(package) is None:
        reason = f"{package} is not installed: pip install 'isoscale[zoo]' (timm also wants torchvision for your torch)"
        return [pytest.param(None, id=package, marks=[pytest.mark.zoo, pytest.mark.skip(reason=reason)])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = importlib.import_module(f"tests.zoo.{module}").ENTRIES
    return [pytest.param(entry, id=entry.name, marks=pytest.mark.zoo) for entry in found]


@pytest.mark.parametrize("entry", entries("timm_models", "timm"))
def test_timm(entry: Entry) -> None:
    check(entry)


@pytest.mark.parametrize("entry", entries("hf", "transformers"))
def test_hugging_face(entry: Entry) -> None:
    check(entry)


def test_the_zoo_notices_a_wrong_depth() -> None:
    entry = own.ENTRIES[0]
    wrong = Entry(entry.name, entry.build, entry.base, entry.target, entry.inputs, depths=((2, 5),))
    with pytest.raises(AssertionError):
        check(wrong)
