"""A configuration is checked at once, and every mistake is told."""

import json

import pytest

from isoscale._train import ConfigError, prepare, vocabulary
from isoscale._train.settings import Settings, parse

GOOD = {
    "rule": "depth_mup",
    "optimizer": "adamw",
    "width": 8,
    "depth": 2,
    "base_width": 8,
    "base_depth": 2,
    "seed": 0,
    "lr": 0.01,
}


def test_a_good_configuration_passes_through_json_unchanged() -> None:
    assert parse(json.loads(json.dumps(GOOD))) == parse(GOOD)
    assert parse(GOOD).steps == 200


def test_every_mistake_is_told_at_once_with_its_close_match() -> None:
    bad = GOOD | {
        "optimizer": "adamv",
        "width": 0,
        "lr": "1e-3",
        "scedule": "cosine",
        "model": "resnet",
        "nesterov": True,
    }
    del bad["seed"]
    with pytest.raises(ConfigError) as caught:
        parse(bad)
    lines = str(caught.value).splitlines()
    assert lines[0] == "7 mistakes in the configuration:"
    for expected in (
        "optimizer = 'adamv'",
        "did you mean 'adam'",
        "width = 0",
        "lr = '1e-3'",
        "scedule: no such setting; did you mean 'schedule'?",
        "model = 'resnet'",
        "did you mean 'conv_resnet'",
        "nesterov = True",
        "seed: is missing",
    ):
        assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lr": float("inf")}, "lr = inf"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"lr": -1.0}, "lr = -1.0"),
        ({"width": True}, "width = True"),
        ({"warmup": 1.0}, "warmup = 1.0"),
        ({"beta": 0.0}, "beta = 0.0"),
        ({"gamma0": 0}, "gamma0 = 0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"head_size": 8}, "head_size = 8: residual_mlp has none"),
        ({"model": 3}, "model = 3"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_values_out_of_bounds_are_refused(change, told) -> None:
    with pytest.raises(ConfigError, match=r"1 mistake in the configuration") as caught:
        parse(GOOD | change)
    assert told in str(caught.value)


def test_what_only_the_data_can_show_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"reads tokens data") as caught:
        prepare(GOOD | {"model": "gpt", "batch_size": 5000})
    assert "batch_size 5000 is more than the 1437 examples" in str(caught.value)
    with pytest.raises(ConfigError, match="targets of 'teacher' are real"):
        prepare(GOOD | {"data": "teacher", "loss": "cross_entropy"})


def test_the_vocabulary_is_every_setting() -> None:
    assert set(vocabulary()) == set(Settings.model_fields)
    assert "adamw" in vocabulary()["optimizer"]
