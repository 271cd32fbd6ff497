"""Everything a user gets wrong is told in a sentence, before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_model
import pytest
import torch

import isoscale
from isoscale._records.store import Store
from isoscale._tune import TuneError
from isoscale._tune.checking import check, headline
from isoscale._tune.data import dataset
from isoscale._tune.job import planned
from isoscale._tune.preflight import preflight
from isoscale._tune.sizes import Keys, check_second, keys_of, second_size
from isoscale._tune.tune import Job

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 4}


def tune(folder: Path, **changes: Any) -> Any:
    settings: dict[str, Any] = {"build": own_model.build, "data": own_model.data, "base": BASE, "target": TARGET}
    settings |= {"store": folder / "tune.sqlite", "workers": 0, **changes}
    return isoscale.tune(settings.pop("build"), settings.pop("data"), **settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"build": own_model.fixed_width}, "ignores width.*same parameters"),
        ({"build": own_model.no_module}, "returns a str, not a torch.nn.Module"),
        ({"build": own_model.only_width}, "cannot be called.*depth"),
        ({"build": own_model.text_out}, "returns a str, not a tensor"),
        ({"build": own_model.bad_init}, "not finite before"),
        ({"build": own_model.frozen}, "no parameter to train"),
        ({"loss": own_model.vector_loss}, r"a tensor \(8,\), not one number"),
        ({"loss": own_model.detached_loss}, "does not depend on the model's parameters"),
        ({"loss": own_model.nan_loss}, "nan before the first step"),
        ({"data": own_model.wrong_inputs}, r"does not take the data.*\(8, 5\)"),
        ({"data": own_model.too_many_classes}, "run from 2 to 5.*4 classes"),
        ({"data": own_model.column_targets}, "broadcast without a word"),
        ({"data": own_model.needs_arguments}, "called without arguments"),
        ({"data": own_model.dict_batches}, "a dict of x, y, not a pair"),
        ({"data": "nowhere.csv"}, "nowhere.csv.*a function of yours, my.py:data"),
        ({"data": 3}, "no pair of examples and targets"),
        ({"target": {"width": 8, "depth": 4}}, "smaller than the base"),
        ({"target": {"width": 64}}, "different keys"),
        ({"target": BASE}, "nothing to carry"),
        ({"second": {"width": 32, "depth": 2}}, "not larger than the base in depth"),
        ({"second": {"width": 32}}, "different keys"),
        ({"batch_size": 1000}, "192 examples"),
        ({"hyperparameters": ("lr", "momentom")}, "momentom"),
        ({"hyperparameters": ("weight_decay",)}, "learning rate is always tuned"),
        ({"hyperparameters": ("lr", "lr")}, "each once"),
        ({"settings": {"momentum": 0.9}}, "adamw has none"),
        ({"settings": {"lr": 0.9}}, "not a setting"),
        ({"settings": {"eps": 1e-6}, "hyperparameters": ("lr", "eps")}, "tuned and held"),
        ({"start": {"lr": -1.0}}, "positive number"),
        ({"optimizer": "AdamW"}, "did you mean 'adamw'"),
        ({"optimizer": "adamv"}, "no optimizer 'adamv'; did you mean 'adam"),
        ({"rule": "depth_mupp"}, "depth_mup"),
        ({"schedule": "cosin"}, "schedule='cosin'"),
        ({"steps": 0}, "steps=0"),
        ({"workers": -1}, "workers=-1"),
        ({"build": lambda width, depth: own_model.Net(width, depth), "workers": 1, "skip_check": True}, "lambda"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_runs(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){words}"):
        tune(tmp_path, **changes)
    if (tmp_path / "tune.sqlite").exists():
        assert not Store(tmp_path / "tune.sqlite").states()


def test_the_example_itself_is_fine(tmp_path: Path) -> None:
    """The control: what the mistakes above are made of passes the same door."""
    job = Job(own_model.build, own_model.data, None, tuple(BASE.items()), "depth_mup", "adamw")
    found = preflight(job, 64)
    assert found.channel == -1
    assert not found.warnings
    assert preflight(job, 64) == found


def test_a_loss_that_draws_noise_is_the_same_training_each_time(tmp_path: Path) -> None:
    job = Job(own_model.build, own_model.data, own_model.noisy_loss, tuple(BASE.items()), "depth_mup", "adamw")
    first = preflight(job, 64)
    torch.rand(3)
    state = torch.get_rng_state()
    assert preflight(job, 64) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_one_logit_is_told_how_to_be_trained(tmp_path: Path) -> None:
    def build(width: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Linear(width, 1))

    job = Job(build, dataset((torch.randn(20, 3), torch.arange(20) % 2)), None, (("width", 3),), "sp", "adamw")
    with pytest.raises(TuneError, match="for one logit give real targets"):
        preflight(job, 4)


@pytest.mark.parametrize("build", [own_model.tuple_out, own_model.dict_out])
def test_the_first_of_several_outputs_is_trained_on(build: Any) -> None:
    """As language models have it: (logits, loss), or a dict with logits."""
    data = dataset(own_model.data)
    runs = []
    for each in (own_model.build, build):
        job = Job(each, data, None, tuple(BASE.items()), "depth_mup", "adamw")
        assert keys_of(each, BASE, TARGET, (data.x_train[:2],), planned(job, tuple(TARGET.items()))).depth == ("depth",)
        config = {
            "width": 16,
            "depth": 2,
            "base_width": 16,
            "base_depth": 2,
            "size": list(BASE.items()),
            "rule": "depth_mup",
        }
        runs.append(job([{**config, "seed": 0, "lr": 0.01, "steps": 5, "batch_size": 16, "optimizer": "adamw"}])[0])
    assert runs[0].metrics == runs[1].metrics


def test_a_headline_names_what_failed_and_not_what_is_only_shown() -> None:
    job = Job(own_model.build, own_model.data, None, tuple(BASE.items()), "sp", "adamw")
    found = check(job, Keys(("width",), ()), BASE)
    shown = replace(found, lines=(replace(found.lines[0], outcome="SHOWN"), *found.lines))
    assert headline(shown) == headline(found)
    assert "SHOWN" not in headline(shown)


def test_classes_may_stand_where_torch_has_them() -> None:
    def build(width: int) -> torch.nn.Module:
        return torch.nn.Conv1d(3, 5, width)

    x, y = torch.randn(20, 3, 9), torch.randint(0, 5, (20, 7))
    job = Job(build, dataset((x, y)), None, (("width", 3),), "sp", "adamw")
    assert preflight(job, 4).channel == 1


@pytest.mark.parametrize(
    "form",
    ["pairs", "four", "dict", "datasets", "batches", "whole", "numpy", "npz", "path", "function"],
)
def test_every_form_of_data_is_the_same_data(tmp_path: Path, form: str) -> None:
    (x, y), (x_test, y_test) = own_model.data()
    four = dict(zip(("x_train", "y_train", "x_test", "y_test"), (x, y, x_test, y_test)))
    np.savez(tmp_path / "d.npz", **{name: each.numpy() for name, each in four.items()})
    pair = torch.utils.data.TensorDataset
    given: Any = {
        "pairs": ((x, y), (x_test, y_test)), "four": (x, y, x_test, y_test), "dict": four,
        "datasets": (pair(x, y), pair(x_test, y_test)),
        "batches": (list(zip(x.split(50), y.split(50))), torch.utils.data.DataLoader(pair(x_test, y_test), 7)),
        "whole": (x, y), "numpy": tuple(each.numpy() for each in four.values()), "npz": str(tmp_path / "d.npz"),
        "path": tmp_path / "d.npz", "function": own_model.data,
    }[form]  # fmt: skip
    found = dataset(given)
    if form == "whole":
        assert (len(found.x_train), len(found.x_test)) == (173, 19)
    elif form in ("npz", "path"):
        assert torch.equal(found.y_train, y)  # files are standardised, as everywhere
    else:
        assert torch.equal(found.x_train, x)
        assert torch.equal(found.y_test, y_test)


def test_data_that_do_not_fit_together_are_refused() -> None:
    (x, y), held = own_model.data()
    for given, words in (
        (((x, y.float()), held), "one loss reads both"), ({"x_train": x}, "without y_train"),
        ([(x, y[:5])], "as many of both"), ([], "yields nothing"), (((x, y[:-1]), held), "192 examples"),
        ([(x[:3], y[:3]), (x[:3, :2], y[:3]), (x[:3], y[:3])], "different shapes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            dataset(given)


def test_the_second_size_is_twice_the_base_and_never_beyond_the_target() -> None:
    keys = Keys(("width", "heads"), ("depth",))
    base, target = {"width": 64, "heads": 4, "depth": 4}, {"width": 1024, "heads": 64, "depth": 6}
    second = second_size(base, target, keys)
    assert second == {"width": 128, "heads": 8, "depth": 6}
    check_second(second, base, target, keys)
    with pytest.raises(TuneError, match="not larger than the base in width"):
        check_second(base | {"depth": 6}, base, target, keys)
