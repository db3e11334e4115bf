"""Trials as runs of TensorBoard: a folder each, with curves and a row of the page HPARAMS."""

from __future__ import annotations

import shutil
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from search.trials.tracking.runs import Experiment, Look, Run

ENDED = "trial.json"
"""File in the folder of a run that has ended: the whole trial. A run without it is written anew."""


class TensorBoardTracker:
    """Folders of event files.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, EventFileWriter] = {}

    def began(self, run: Run) -> int | None:
        """Begin an event file with the settings."""
        folder = self._of(run)
        if (folder / ENDED).exists():
            return None
        shutil.rmtree(folder, ignore_errors=True)  # what a killed search left of it
        folder.mkdir(parents=True)
        self._writers[run.number] = EventFileWriter(str(folder))
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=run.began)
        for key, value in run.settings.items():
            if isinstance(value, bool):
                start.hparams[key].bool_value = value
            elif isinstance(value, str):
                start.hparams[key].string_value = value
            else:
                start.hparams[key].number_value = value
        self._session(run, metadata.SESSION_START_INFO_TAG, session_start_info=start)
        return 0

    def evaluated(self, run: Run, looks: tuple[Look, ...]) -> None:
        """Add points to the curves."""
        for look in looks:
            for key, value in look.figures.items():
                self._write(run, Summary.Value(tag=key, simple_value=value), time=look.time, step=look.step)
        self._writers[run.number].flush()

    def ended(self, run: Run) -> None:
        """Add figures, state and reason."""
        time = run.ended or run.began
        for key, value in run.figures.items():
            self._write(run, Summary.Value(tag=key, simple_value=value), time=time)
        said = {**run.notes, "state": run.state}
        text = TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto())
        text.string_val.append("\n\n".join(f"{key}: {value}" for key, value in said.items()).encode())
        self._write(
            run, Summary.Value(tag="trial", metadata=text_metadata("trial", ""), tensor=text), time=time
        )
        status = Status.STATUS_SUCCESS if run.state in {"complete", "pruned"} else Status.STATUS_FAILURE
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time)
        self._session(run, metadata.SESSION_END_INFO_TAG, session_end_info=end)
        self._writers.pop(run.number).close()
        (self._of(run) / ENDED).write_text(run.model_dump_json(indent=1), encoding="utf-8")

    def _of(self, run: Run) -> Path:
        return self._folder / f"trial-{run.number:04}"

    def _session(self, run: Run, tag: str, **info: object) -> None:
        about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**info))
        self._write(run, Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR), time=run.began)

    def _write(self, run: Run, value: Summary.Value, *, time: float, step: int = 0) -> None:
        event = Event(wall_time=time, step=step, summary=Summary(value=[value]))
        self._writers[run.number].add_event(event)


def open_tracker(experiment: Experiment, place: str | None) -> tuple[TensorBoardTracker, str]:
    """Return the tracker of an experiment, and how to see it; without a place it lies in the study's folder."""
    folder = Path(experiment.folder, "tensorboard") if place is None else Path(place, experiment.name)
    return TensorBoardTracker(folder), f"tensorboard --logdir {folder}"
