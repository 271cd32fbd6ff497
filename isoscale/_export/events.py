"""TensorBoard: a folder of event files for each run, with its curves, final metrics and hyperparameters."""

from pathlib import Path
from typing import Any

from isoscale._export.files import replacing
from isoscale._export.flat import config_of, name_of, rows_of, summary_of
from isoscale._records.extras import load
from isoscale._records.records import Records
from isoscale._records.run import Run

_PURPOSE = "an export to TensorBoard"


def to_tensorboard(records: Records, folder: Path) -> int:
    """Write the runs that `folder` has not yet, and return how many. Show them with `tensorboard --logdir FOLDER`."""
    records_of = load("tensorboard.summary.writer.record_writer", extra="exports", purpose=_PURPOSE)
    written = 0
    for run in records:
        place = folder / name_of(run)
        if place.exists():
            continue
        with replacing(place) as draft:
            draft.mkdir()
            with (draft / f"events.out.tfevents.0.{run.identity[:12]}").open("wb") as file:
                writer = records_of.RecordWriter(file)
                for event in _events(run):
                    writer.write(event.SerializeToString())
                writer.flush()
        written += 1
    return written


def _events(run: Run) -> list[Any]:
    event_pb = load("tensorboard.compat.proto.event_pb2", extra="exports", purpose=_PURPOSE)
    summary_pb = load("tensorboard.compat.proto.summary_pb2", extra="exports", purpose=_PURPOSE)

    def at(step: int, values: dict[str, float]) -> Any:
        each = [summary_pb.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        seconds = (run.seconds or 0.0) * step / run.steps if run.steps else 0.0
        return event_pb.Event(wall_time=seconds, step=step, summary=summary_pb.Summary(value=each))

    ends = {f"final/{name}": value for name, value in summary_of(run).items() if _is_number(value)}
    return [
        event_pb.Event(wall_time=0.0, file_version="brain.Event:2"),
        event_pb.Event(wall_time=0.0, summary=_hyperparameters(run)),
        *(at(step, values) for step, values in rows_of(run)),
        at(run.steps, ends),
    ]


def _hyperparameters(run: Run) -> Any:
    """What the tab "HParams" shows."""
    summary_pb = load("tensorboard.compat.proto.summary_pb2", extra="exports", purpose=_PURPOSE)
    plugin_pb = load("tensorboard.plugins.hparams.plugin_data_pb2", extra="exports", purpose=_PURPOSE)
    start = plugin_pb.SessionStartInfo(group_name=run.identity[:12])
    for name, value in config_of(run).items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif _is_number(value):
            start.hparams[name].number_value = value
        elif value is not None:
            start.hparams[name].string_value = value
    content = plugin_pb.HParamsPluginData(session_start_info=start, version=0).SerializeToString()
    about = summary_pb.SummaryMetadata(
        plugin_data=summary_pb.SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    )
    return summary_pb.Summary(value=[summary_pb.Summary.Value(tag="_hparams_/session_start_info", metadata=about)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
