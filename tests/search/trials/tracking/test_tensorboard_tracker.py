"""Read back by TensorBoard itself. ``frostline[dev]`` brings it, so that the gate skips nothing here; elsewhere it may be missing."""

import pytest
from tracked import BEGAN, experiment, run

pytest.importorskip("tensorboard", reason="frostline[tensorboard] is not installed")

from search.trials.tracking.process import Desk
from search.trials.tracking.tensorboard_tracker import open_tracker


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_a_trial_is_a_folder_with_settings_curves_figures_and_reason(tmp_path):
    tracker, how = open_tracker(experiment(tmp_path), None)
    Desk(tracker).take(run(0, state="complete", num_looks=2))
    assert how == f"tensorboard --logdir {tmp_path}/tensorboard"
    events = read(tmp_path / "tensorboard" / "trial-0000")
    points = events.Scalars("curve/validation_loss")
    assert [(p.step, p.wall_time) for p in points] == [(500, BEGAN), (1000, BEGAN + 1)]
    assert [p.value for p in points] == [1.0, pytest.approx(0.9)]
    assert events.Scalars("score")[0].value == 0.75
    [text] = events.Tensors("trial")
    assert b"reason: patience ran out" in text.tensor_proto.string_val[0]
    assert b"state: complete" in text.tensor_proto.string_val[0]


def test_the_settings_are_those_of_the_page_of_hyperparameters(tmp_path):
    from tensorboard.plugins.hparams import metadata

    tracker, _ = open_tracker(experiment(tmp_path), str(tmp_path))
    Desk(tracker).take(run(0, state="failed"))
    plugin = read(tmp_path / "tiny" / "trial-0000").SummaryMetadata
    start = metadata.parse_session_start_info_plugin_data(
        plugin("_hparams_/session_start_info").plugin_data.content
    )
    end = metadata.parse_session_end_info_plugin_data(
        plugin("_hparams_/session_end_info").plugin_data.content
    )
    assert start.hparams["freeze_depth"].number_value == 2
    assert start.hparams["bias"].bool_value is True
    assert start.hparams["data.source"].string_value == "x.csv"
    assert end.status == 2  # STATUS_FAILURE


def test_half_a_run_of_a_killed_search_is_written_anew(tmp_path):
    about = experiment(tmp_path)
    half = Desk(open_tracker(about, None)[0])
    half.take(run(0, num_looks=2))
    half.take(run(1, state="complete", num_looks=1))
    again = Desk(open_tracker(about, None)[0])
    again.take(run(0, state="cut off", num_looks=3))
    again.take(run(1, state="complete", num_looks=1))
    folders = [tmp_path / "tensorboard" / f"trial-000{number}" for number in (0, 1)]
    assert [len(list(folder.glob("events*"))) for folder in folders] == [1, 1]
    assert [len(read(folder).Scalars("curve/score")) for folder in folders] == [3, 1]
