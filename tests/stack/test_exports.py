"""Each export read back by the tool's own reader; twice exported is once; hostile names do no harm."""

import importlib.util
import json
import math
import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from isoscale._export import export
from isoscale._export.flat import name_of
from isoscale._records.records import Records
from isoscale._records.run import Curve, Run
from isoscale._records.tabular import CsvError
from isoscale._transfer import judge

pytestmark = pytest.mark.stack


def needs(*packages: str) -> pytest.MarkDecorator:
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    return pytest.mark.skipif(bool(absent), reason=f"needs {', '.join(absent)}: pip install 'isoscale[exports,optuna]'")


HOSTILE = [
    "<script>alert(1)</script>", "'; DROP TABLE runs; --", "../../../etc/passwd", "\x1b[2J\x1b]0;title\x07",
    "nul\x00byte", "\ud800 lone surrogate", "=cmd|' /C calc'!A0", "%s %n {0}", "new\nline\r\n", "a/b\\c", "x" * 100_000,
]  # fmt: skip


def make(seed: int, lr: float, **more: object) -> Run:
    diverged = lr > 1
    value = math.inf if diverged else 1.0 / (1 + seed) + lr
    config = {"rule": "mup", "optimizer": "adamw", "width": 8, "depth": 2, "seed": seed, "lr": lr, **more}
    curve = Curve((0, 5, 10), (2.0, 1.5, math.nan if diverged else value))
    return Run(
        config, {"train_loss": value}, "diverged" if diverged else "finished", 10 if diverged else None, 10, 1e6, 2.0,
        {"train_loss": curve}, {"name": "digits"}, {"torch": "2"},
    )  # fmt: skip


RUNS = Records([make(seed, lr) for seed in (0, 1) for lr in (0.1, 0.01, 8.0)])
NASTY = Records([make(0, 0.1, model=text, **{text: 1}) for text in HOSTILE])


def everything_inside(folder: Path, place: Path) -> bool:
    return {path.name for path in folder.iterdir()} == {place.name}


# -- tables ------------------------------------------------------------------------------------------------------------


def test_csv_comes_back_as_it_was_but_for_curves_and_no_cell_is_a_formula(tmp_path: Path) -> None:
    place = tmp_path / "runs.csv"
    for _ in range(2):
        assert export(RUNS, "csv", place).runs == 6
    back = Records.from_csv(place)
    assert [dict(run.config) for run in back] == [dict(run.config) for run in RUNS]
    assert [run.metrics for run in back] == [run.metrics for run in RUNS]
    nasty = Records([make(0, 0.1, model=text) for text in HOSTILE])
    export(nasty, "csv", place)
    assert [run["model"] for run in Records.from_csv(place)] == HOSTILE
    assert b"\x1b" not in place.read_bytes()
    assert b",=cmd" not in place.read_bytes()
    assert everything_inside(tmp_path, place)


@needs("polars")
def test_parquet_holds_every_number_and_the_curves(tmp_path: Path) -> None:
    import polars

    place = tmp_path / "runs.parquet"
    export(RUNS, "parquet", place)
    table = polars.read_parquet(place)
    assert table["identity"].to_list() == [run.identity for run in RUNS]
    assert table["config.lr"].to_list() == [run["lr"] for run in RUNS]
    assert table["metrics.train_loss"].to_list() == [run["train_loss"] for run in RUNS]
    assert table["curves.train_loss.step"].to_list()[0] == [0, 5, 10]
    assert table["curves.train_loss.value"].to_list()[0] == list(RUNS[0].curves["train_loss"].value)
    assert table["diverged_at"].to_list() == [run.diverged_at for run in RUNS]
    mixed = Records([make(0, 0.1, x=1), make(0, 0.1, x="one"), make(0, 0.1, x=[1, 2]), make(0, 0.1)])
    export(mixed + NASTY, "parquet", place)
    again = polars.read_parquet(place)
    assert again["config.x"].to_list()[:4] == ["1", "one", "[1, 2]", None]
    assert len(again) == 4 + len(NASTY)


# -- TensorBoard -------------------------------------------------------------------------------------------------------


@needs("tensorboard")
def test_tensorboard_reads_curves_final_metrics_and_hyperparameters(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    place = tmp_path / "logs"
    assert export(RUNS[:4], "tensorboard", place).added == 4
    assert export(RUNS, "tensorboard", place).added == 2
    assert export(RUNS, "tensorboard", place).added == 0
    folders = sorted(path.name for path in place.iterdir())
    assert folders == sorted(name_of(run) for run in RUNS)
    for run in RUNS:
        read = EventAccumulator(str(place / name_of(run)))
        read.Reload()
        curve = read.Scalars("train_loss")
        assert [event.step for event in curve] == [0, 5, 10]
        assert [event.value for event in curve][:2] == [2.0, 1.5]
        assert read.Scalars("final/train_loss")[0].value == pytest.approx(run["train_loss"], rel=1e-6)
        [content] = read._plugin_to_tag_to_content["hparams"].values()
        start = HParamsPluginData.FromString(content).session_start_info
        assert start.hparams["lr"].number_value == run["lr"]
        assert start.hparams["rule"].string_value == "mup"
    export(NASTY, "tensorboard", place)
    assert all(path.parent == place for path in place.iterdir())
    assert everything_inside(tmp_path, place)


# -- Optuna ------------------------------------------------------------------------------------------------------------


@needs("optuna")
def test_optuna_reads_a_study_for_each_rule_and_size(tmp_path: Path) -> None:
    import optuna

    def studies() -> dict:
        journal = optuna.storages.journal.JournalFileBackend(str(place))
        storage = optuna.storages.JournalStorage(journal)
        return {
            name: optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)
        }

    place = tmp_path / "runs.journal"
    assert export(RUNS[:3], "optuna", place).added == 3
    assert export(RUNS, "optuna", place).added == 3
    assert export(RUNS, "optuna", place).added == 0
    [study] = studies().values()
    assert study.study_name == "rule=mup optimizer=adamw width=8 depth=2"
    assert len(study.trials) == 6
    assert study.best_value == min(run.loss("train_loss") for run in RUNS)
    assert study.best_params == {"lr": 0.01}
    assert {trial.user_attrs["seed"] for trial in study.trials} == {0, 1}
    failed = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.FAIL]
    assert [trial.params["lr"] for trial in failed] == [8.0, 8.0]
    assert study.trials[0].intermediate_values == {0: 2.0, 5: 1.5, 10: RUNS[0]["train_loss"]}
    export(NASTY, "optuna", place)
    assert len(studies()[study.study_name].trials) == 6 + len(NASTY)
    with pytest.raises(ValueError, match="no run has the metric 'loss'"):
        export(RUNS, "optuna", place, metric="loss")


# -- trackers ----------------------------------------------------------------------------------------------------------


def exported_in_a_process(folder: Path, to: str, runs: str = "RUNS") -> str:
    """Trackers keep threads, settings and a place per process; the command has a process of its own, too."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_exports import RUNS, NASTY, export, Records\n"
        f"print(export({runs}, {to!r}, {str(folder)!r}, project='mine').added)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


@needs("trackio")
def test_trackio_holds_each_run_once_with_its_curve(tmp_path: Path) -> None:
    place = tmp_path / "tracked"
    assert exported_in_a_process(place, "trackio", "RUNS[:4]") == "4"
    ledger = place / "exported.txt"
    ledger.write_text("\n".join(ledger.read_text().split()[:3]) + "\nhalf a li")  # as a kill leaves it
    assert exported_in_a_process(place, "trackio") == "3"
    assert exported_in_a_process(place, "trackio") == "0"
    assert exported_in_a_process(place, "trackio", "NASTY") == str(len(NASTY))
    database = sqlite3.connect(place / "mine.db")
    for run in RUNS:
        rows = database.execute("SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY id", (name_of(run),))
        (*curve, last) = [(step, json.loads(metrics)) for step, metrics in rows]
        assert [step for step, _ in curve] == [0, 5, 10]
        assert [values["train_loss"] for _, values in curve][:2] == [2.0, 1.5]
        assert last[1]["final/status"] == run.status
        [[config]] = database.execute("SELECT config FROM configs WHERE run_name = ?", (name_of(run),))
        assert json.loads(config)["lr"] == run["lr"]
    database.close()
    assert everything_inside(tmp_path, place)


def wandb_records(path: Path) -> list:
    """The records of an offline run: LevelDB's log format, blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, found, parts = path.read_bytes(), 7, [], b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            found.append(Record.FromString(parts))
            parts = b""
    return found


@needs("wandb")
def test_wandb_writes_an_offline_run_for_each_once(tmp_path: Path) -> None:
    place = tmp_path / "tracked"
    assert exported_in_a_process(place, "wandb", "RUNS[:2]") == "2"
    ledger = place / "exported.txt"
    ledger.write_text(ledger.read_text().split()[0] + "\n")  # the second was not noted before a kill
    assert exported_in_a_process(place, "wandb", "RUNS[:3]") == "2"
    assert exported_in_a_process(place, "wandb", "RUNS[:3]") == "0"
    assert exported_in_a_process(place, "wandb", "NASTY[:7]") == "7"
    for run in RUNS[:3]:
        [file] = (place / "wandb").glob(f"offline-run-*-{run.identity[:16]}/run-*.wandb")
        records = wandb_records(file)
        [about] = [record.run for record in records if record.WhichOneof("record_type") == "run"][:1]
        config = {item.key: json.loads(item.value_json) for item in about.config.update}
        assert (about.display_name, config["lr"], about.project) == (name_of(run), run["lr"], "mine")
        history = [
            {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for record in records
            if record.WhichOneof("record_type") == "history"
        ]
        assert [(row["_step"], row["train_loss"]) for row in history][:2] == [(0, 2.0), (5, 1.5)]
        assert len(history) == 3
    assert not list(tmp_path.glob("*passwd*"))


# -- the way back ------------------------------------------------------------------------------------------------------

HEAD = (
    '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","rule","opt","d_model","n_layers","seed","lr",'
    '"train_loss"'
)


def test_a_table_exported_from_wandbs_page_is_read_and_judged(tmp_path: Path) -> None:
    rows = [
        f'"run-{width}-{k}-{seed}","finished","-","me","","2026-01-01T00:00:00.000Z","{12 + k}","","mup","adamw",'
        f'"{width}","2","{seed}","{2.0**-k}","{(k - 6) ** 2 / 10 + 1 + 0.01 * seed}"'
        for width in (32, 64, 128)
        for k in range(3, 10)
        for seed in (0, 1, 2)
    ]
    place = tmp_path / "wandb_export.csv"
    place.write_text("\n".join([HEAD, *rows]) + "\n")
    names = {"opt": "optimizer", "d_model": "width", "n_layers": "depth"}
    records = Records.from_csv(place, columns=names)
    assert len(records) == 63
    assert records[0]["lr"] == 0.125
    [verdict] = judge(records)
    assert verdict.outcome == "transfers", verdict.sentence
    crashed = rows[0].replace('"finished"', '"crashed"')
    place.write_text("\n".join([HEAD, crashed[: crashed.rindex(",")] + ',""', *rows[1:]]) + "\n")
    with pytest.raises(CsvError, match=r"row 2, column State: 'crashed' without a finite loss: that run did not end"):
        Records.from_csv(place, columns=names)
    lower = HEAD.replace("State", "state").replace("Name", "name")  # the control: names of the user's own
    place.write_text("\n".join([lower, *rows]) + "\n")
    assert "name" in Records.from_csv(place, columns=names)[0].config
