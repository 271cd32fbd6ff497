"""Records as a collection, and runs from and to CSV with every mistake told at once."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoscale._records.records import Records
from isoscale._records.run import Run
from isoscale._records.tabular import CsvError


def run(**config: object) -> Run:
    return Run({"rule": "mup", "optimizer": "sgd", "width": 4, "depth": 2, "seed": 0, **config}, {"train_loss": 1.0})


def test_records_select_values_and_concatenation() -> None:
    records = Records(run(lr=lr, width=width) for width in (8, 4) for lr in (0.5, 0.25))
    assert len(records) == 4
    assert records.values("width") == (4, 8)
    assert [one["lr"] for one in records.select(width=4, rule="mup")] == [0.5, 0.25]
    assert len(records.select(width=5)) == 0
    assert isinstance(records[1:], Records)
    assert (records[:2] + records[1:]).runs == records.runs
    assert records.names == ("rule", "optimizer", "width", "depth", "seed", "lr")
    with pytest.raises(ValueError, match="did you mean width"):
        records.select(widht=4)
    with pytest.raises(AttributeError):
        records.runs = ()


def test_two_results_of_one_configuration_do_not_concatenate() -> None:
    with pytest.raises(ValueError, match="two different results"):
        Records([run()]) + Records([Run(run().config, {"train_loss": 2.0})])
    nan = Run(run().config, {"train_loss": math.nan})
    assert len(Records([nan]) + Records([Run(run().config, {"train_loss": math.nan}, seconds=3.0)])) == 1


def read(tmp_path: Path, text: str, **options: object) -> Records:
    path = tmp_path / "runs.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Records.from_csv(path, **options)


HEAD = "rule,optimizer,width,depth,seed,lr,train_loss\n"


def test_runs_of_ones_own(tmp_path: Path) -> None:
    text = HEAD + "mup,adam,64,2,0,1e-3,0.5\nmup,adam,64,2,0,1e-2,inf\nmup,adam,64,2,0,0.1,NaN\nmup,adam,64,2,0,1,\n"
    records = read(tmp_path, text)
    assert [one.status for one in records] == ["finished", "diverged", "diverged", "diverged"]
    assert [one["lr"] for one in records] == [1e-3, 1e-2, 0.1, 1]
    assert [one.loss("train_loss") for one in records[:3]] == [0.5, math.inf, math.inf]


def test_columns_are_renamed_constants_added_metrics_named(tmp_path: Path) -> None:
    text = "\ufeffd_model;n_layer;seed;lr;final loss;perplexity;note\n64.0;2.0;0;0.5;1.5;4.5;a,b\n"
    [one] = read(
        tmp_path,
        text,
        columns={"d_model": "width", "n_layer": "depth", "final loss": "test_loss"},
        constants={"rule": "mup", "optimizer": "adam"},
        metrics=["perplexity"],
    )
    assert one.config == {
        "rule": "mup",
        "optimizer": "adam",
        "width": 64,
        "depth": 2,
        "seed": 0,
        "lr": 0.5,
        "note": "a,b",
    }
    assert type(one["width"]) is int
    assert one.metrics == {"test_loss": 1.5, "perplexity": 4.5}


def test_every_mistake_is_told_with_its_row_and_column(tmp_path: Path) -> None:
    text = (
        HEAD
        + "mup,adam,wide,2,0,0.1,0.5\n"
        + "mup,adam,64,2,0,0.1,low\n"
        + "mup,adam,64,0,1.5,-1,0.5\n"
        + "mup,,64,2,0,0.1,0.5\n"
        + "mup,adam,64,2,0,0.1\n"
        + "mup,adam,64,2,3,0.1,0.5\n\nmup,adam,64,2,3,0.1,0.6\n"
    )
    with pytest.raises(CsvError) as caught:
        read(tmp_path, text)
    starts = [
        "row 2, column width: 'wide' is not a whole number above 0",
        "row 3, column train_loss: 'low' is not a number",
        "row 4, column depth: '0' is not a whole number above 0",
        "row 4, column seed: '1.5' is not a whole number",
        "row 4, column lr: '-1' is not a learning rate",
        "row 5, column optimizer: empty",
        "row 6: 6 cells under 7 columns",
        "row 9: the same configuration as row 7",
    ]
    assert len(caught.value.mistakes) == len(starts)
    for mistake, start in zip(caught.value.mistakes, starts, strict=True):
        assert mistake.startswith(start)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        (HEAD, "no run"),
        ("rule,optimizer,wdith,depth,seed,loss\nmup,sgd,1,1,1,1\n", "no column 'width'.*did you mean wdith"),
        ("rule,optimizer,width,depth,seed,lr\nmup,sgd,1,1,1,1\n", 'no column that ends in "loss"'),
        ("rule,rule,optimizer,width,depth,seed,loss\nmup,mup,sgd,1,1,1,1\n", "a second column 'rule'"),
        (HEAD + 'mup,"adam,64\n', "unexpected end of data"),
        (b"rule,optimizer\n\xff\xfe,x\n".decode("latin1").encode("latin1"), "row 2: byte 15 is not UTF-8"),
    ],
)
def test_a_file_that_is_no_table_of_runs(tmp_path: Path, text: object, words: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(text if isinstance(text, bytes) else str(text).encode())
    with pytest.raises(CsvError, match=words):
        Records.from_csv(path)


def test_status_and_losses_must_agree(tmp_path: Path) -> None:
    head = HEAD.replace("train_loss", "train_loss,status")
    assert read(tmp_path, head + "mup,adam,64,2,0,0.1,0.5,diverged\n")[0].status == "diverged"
    with pytest.raises(CsvError, match="finished, but no loss is a finite number"):
        read(tmp_path, head + "mup,adam,64,2,0,0.1,inf,finished\n")


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
WORDS = TEXT.map(str.strip).filter(bool)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
NAMES = TEXT.map(str.strip).filter(lambda name: name and "\x00" not in name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(NAMES, VALUES | st.lists(VALUES, max_size=2), max_size=3), min_size=1, max_size=4),
    st.dictionaries(NAMES, st.floats(), max_size=2),
    WORDS,
)
def test_what_is_written_is_read_back_exactly(tmp_path: Path, extra: list, metrics: dict, rule: str) -> None:
    needed = {"optimizer": "sgd", "width": 4, "depth": 2, "lr": 0.5}
    runs = [
        Run({**other, **needed, "rule": rule, "seed": seed}, {"train_loss": 1.0, **metrics}, steps=3, flops=1e9)
        for seed, other in enumerate(extra)
    ]
    finite = all(math.isfinite(value) for name, value in metrics.items() if name.endswith("loss"))
    runs = [one if finite else Run(one.config, one.metrics, "diverged", 2, 3, 1e9) for one in runs]
    Records(runs).to_csv(tmp_path / "back.csv")
    back = Records.from_csv(tmp_path / "back.csv")
    assert [repr(sorted(one.config.items())) for one in back] == [repr(sorted(one.config.items())) for one in runs]
    assert [repr(sorted(one.metrics.items())) for one in back] == [repr(sorted(one.metrics.items())) for one in runs]
    assert [(one.status, one.diverged_at, one.steps, one.flops) for one in back] == [
        (one.status, one.diverged_at, one.steps, one.flops) for one in runs
    ]
