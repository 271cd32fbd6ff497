"""The spec: what it stands for, and every mistake told at once with its path."""

import re
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoscale._sweep.grid import read_grid
from isoscale._sweep.limits import HYPERPARAMETERS
from isoscale._sweep.mistakes import SpecError
from isoscale._sweep.spec import load_spec, parse_spec
from isoscale._sweep.template import TEMPLATE

KNOWN = {
    "rule": ["sp", "mup", "depth_mup", "depth_alpha"],
    "optimizer": ["sgd", "adam", "adamw", "adamw_independent"],
    "model": ["residual_mlp", "vit"],
    "data": ["digits", "text"],
    "schedule": ["constant", "linear", "cosine"],
}

SMALL = """
rules = ["mup"]
[base]
width = 8
depth = 2
[optimizers.sgd]
lr = 0.1
"""


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, KNOWN)
    return caught.value.mistakes


def test_the_template_is_valid_and_each_of_its_comments_too(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(TEMPLATE)
    spec = load_spec(path, KNOWN)
    assert spec.count() == len(spec.configs()) == 3 * 6 * 3 * (8 + 9)
    assert spec.store.path == "runs.sqlite"
    options = [line for line in TEMPLATE.splitlines() if re.match(r"# \w+ = ", line)]
    assert len(options) >= 8
    for option in options:
        parse_spec(TEMPLATE.replace(option, option.removeprefix("# ")), KNOWN)


def test_configurations_are_flat_distinct_and_complete() -> None:
    spec = parse_spec(TEMPLATE, KNOWN)
    configs = spec.configs()
    assert len({repr(sorted(config.items())) for config in configs}) == len(configs)
    assert configs[0] == {
        "rule": "sp",
        "optimizer": "adamw",
        "width": 64,
        "depth": 3,
        "model": "residual_mlp",
        "data": "digits",
        "base_width": 64,
        "base_depth": 3,
        "steps": 200,
        "batch_size": 64,
        "schedule": "cosine",
        "warmup": 0.05,
        "lr": 2.0**-11,
        "weight_decay": 0.0,
        "seed": 0,
    }
    assert {c["lr"] for c in configs if c["optimizer"] == "sgd"} == {2.0**e for e in range(-8, 1)}
    assert {c["lr"] for c in configs if c["optimizer"] == "adamw"} == {2.0**e for e in range(-11, -3)}
    assert all("momentum" not in c for c in configs if c["optimizer"] == "adamw")


def test_sizes_are_the_union_of_both_axes_pairs_and_the_target() -> None:
    spec = parse_spec(
        SMALL + "[sizes]\nwidths = [8, 16]\ndepths = [2, 4]\npairs = [[16, 4]]\ntarget = {width = 32, depth = 8}", KNOWN
    )
    assert spec.all_sizes() == ((8, 2), (16, 2), (8, 4), (16, 4), (32, 8))


def test_shared_hyperparameters_go_to_the_optimizers_that_have_them() -> None:
    text = SMALL.replace("lr = 0.1", "momentum = 0.5") + "[optimizers.adam]\nlr = 0.3\n"
    spec = parse_spec(text + "[hyperparameters]\nlr = [0.1, 0.2]\nmomentum = 0.9\nbeta1 = 0.8\nzero_init = true", KNOWN)
    assert spec.grids("sgd") == {"lr": (0.1, 0.2), "momentum": (0.5,), "zero_init": (True,)}
    assert spec.grids("adam") == {"lr": (0.3,), "beta1": (0.8,), "zero_init": (True,)}


def test_numbers_are_one_configuration_however_written() -> None:
    assert (
        parse_spec(SMALL.replace("0.1", "1"), KNOWN).configs()
        == parse_spec(SMALL.replace("0.1", "1.0"), KNOWN).configs()
    )
    assert type(parse_spec(SMALL.replace("0.1", "1"), KNOWN).configs()[0]["lr"]) is float


def test_full_batch_seeds_and_parameterised_rules() -> None:
    text = SMALL.replace('["mup"]', '["depth_alpha(3/4)"]\nseeds = [5, 7]') + '[train]\nbatch_size = "full"'
    configs = parse_spec(text, KNOWN).configs()
    assert [(c["seed"], c["batch_size"], c["rule"]) for c in configs] == [(s, None, "depth_alpha(3/4)") for s in (5, 7)]


def test_all_mistakes_are_told_at_once_with_path_and_hint() -> None:
    text = """
rules = ["sp", "depht_mup"]
seeds = 0
sede = 1
[model]
name = "residual_mpl"
steps = 3
[data]
name = "digts"
[base]
width = 64
dept = 3
[sizes]
widths = [64, "a", 0]
pairs = [[1, 2, 3]]
[optimizers.sgd]
learning_rate = 0.1
momentum = [0.9, 1.5]
beta1 = 0.9
[optimizers.adamv]
lr = { log2 = [-4, -1], step = 2 }
[train]
stpes = 200
batch_size = 0
schedule = "cosin"
warmup = 1.0
"""
    found = mistakes(text)
    for start in [
        "seeds: 0 seeds: at least 1",
        "sede: unknown; did you mean seeds?",
        "model.steps: unknown; it belongs to [train]",
        "base.depth: missing",
        "base.dept: unknown; did you mean depth?",
        "sizes.widths[1]: input should be a valid integer",
        "sizes.widths[2]: input should be greater than or equal to 1, not 0",
        "sizes.pairs[0]: tuple should have at most 2 items",
        "optimizers.sgd.learning_rate: unknown; did you mean lr?",
        "optimizers.sgd.momentum: 1.5 is not from 0 to below 1",
        "optimizers.adamv.lr: steps of 2 from -4 do not meet -1",
        "train.stpes: unknown; did you mean steps?",
        "train.batch_size: input should be greater than or equal to 1, not 0",
        "train.warmup: input should be less than 1, not 1.0",
        "rules[1]: no rule 'depht_mup'; did you mean depth_mup?",
        "optimizers.adamv: no such optimizer; did you mean adam?",
        "model.name: no model 'residual_mpl'; did you mean residual_mlp?",
        "data.name: no data set or path 'digts'; did you mean digits?",
        "train.schedule: no schedule 'cosin'; did you mean cosine?",
        "optimizers.sgd.beta1: sgd has none; it goes with adam, adamw, adamw_independent",
        "optimizers.sgd.lr: missing",
    ]:
        assert [mistake for mistake in found if mistake.startswith(start)], f"not told: {start}\n" + "\n".join(found)
    assert len(found) == 21


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "[optimizers.adam]\nlr = 1\n[hyperparameters]\nbeta1 = 0.9\nbeta2 = 2",
            "hyperparameters.beta2: 2 is not from 0",
        ),
        ("[hyperparameters]\nbeta1 = 0.9", "hyperparameters.beta1: none of the optimizers has it"),
        ("nesterov = true", "optimizers.sgd.nesterov: true needs a momentum above 0"),
        ("zero_init = 1", "optimizers.sgd.zero_init: 1 is not true or false"),
        ("weight_decay = []", "optimizers.sgd.weight_decay: an empty list"),
        ("weight_decay = [0.0, inf]", "weight_decay: inf in a grid"),
        ("weight_decay = [0.1, 0.1]", "weight_decay: 0.1 is there twice"),
        ("eps = 'x'", "optimizers.sgd.eps: 'x' is not 0 or more"),
        ("[data]\nname = 3", "data.name: input should be a valid string, not 3"),
    ],
)
def test_mistakes_in_single_lines(change: str, words: str) -> None:
    assert any(words in mistake for mistake in mistakes(SMALL + change))


def test_a_path_is_data_and_what_is_not_toml_is_told(tmp_path: Path) -> None:
    parse_spec(SMALL + f"[data]\nname = '{tmp_path}'", KNOWN)
    assert mistakes("rules = [")[0].startswith("it is not TOML")
    with pytest.raises(SpecError, match=r"cannot be read.*isoscale init"):
        load_spec(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"rules = ['\xff']")
    with pytest.raises(SpecError, match="byte 10 is not UTF-8"):
        load_spec(tmp_path / "latin.toml")


def test_a_grid_of_millions_is_a_slip() -> None:
    text = SMALL.replace('["mup"]', '["mup"]\nseeds = 2000')
    with pytest.raises(SpecError, match="it asks for 2002000 runs"):
        parse_spec(text.replace("lr = 0.1", "lr = { log2 = [-10, 0], step = 0.01 }"), KNOWN)


def test_ranges_are_exact_powers() -> None:
    assert read_grid({"log2": [-3, -1], "step": 0.5}) == tuple(2.0 ** (-3 + i / 2) for i in range(5))
    assert len(read_grid({"log2": [0, 1], "step": "1/3"})) == 4
    for wrong in (
        {"log2": [1]},
        {"log2": [2, 1]},
        {"log2": [0, 1], "step": 0},
        {"log2": [0, 1], "stp": 1},
        {},
        {"log2": 3},
    ):
        with pytest.raises(ValueError, match=r"range|steps"):
            read_grid(wrong)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["rules", "seeds", "base", "sizes", "optimizers", "train", "sgd", "lr", "log2", "width", *HYPERPARAMETERS]
)


@given(
    st.dictionaries(
        NAMES, VALUES | st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=3), max_size=4)
    )
)
def test_any_table_gives_a_spec_or_sentences(table: dict) -> None:
    told: tuple[str, ...] = ("a spec: ",)
    with patch("isoscale._sweep.spec.tomllib.loads", return_value=table):
        try:
            parse_spec("", KNOWN)
        except SpecError as error:
            told = error.mistakes
    assert told
    assert all(": " in mistake for mistake in told)
