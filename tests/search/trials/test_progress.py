import re
import time
from io import StringIO

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from search.trials.progress import REDRAWS_PER_SECOND, Live, seconds_left
from trainers.config import TrainConfig
from trainers.errors import CONTROL

CONFIG = TrainConfig.model_validate(
    {
        "data": {"source": "imdb", "validation": 100, "test": 100},
        "freeze_depth": 4,
        "dropout": 0.312,
        "head_width": 128,
        "learning_rate": 4.12e-5,
        "patience": 3,
    }
)
EVALUATION = {
    "epoch": 1.5,
    "validation_loss": 0.31,
    "validation_accuracy": 0.8613,
    "training_accuracy": 0.93,
    "exact": False,
    "score": 0.85,
    "seconds": 64.0,
    "tokens": 1000,
}


def make_trial(
    number, training=None, validation=None, *, state=TrialState.COMPLETE, reason="patience", **attrs
):
    attributes = {"reason": reason, **attrs}
    constraints = {}
    if training is not None:
        attributes |= {"training_accuracy": training, "validation_accuracy": validation}
        attributes |= {"training_exact": state == TrialState.COMPLETE, "epochs": 2.5, "seconds": 60.0}
        constraints = {"training_accuracy_over_ceiling": training - 0.92}
    trial = optuna.trial.create_trial(
        state=state, value=validation, user_attrs=attributes, constraints=constraints
    )
    trial.number = number
    return trial


TRIALS = [
    make_trial(0, 0.90, 0.86),
    make_trial(1, 0.95, 0.88),
    make_trial(
        2, 0.9, 0.7, state=TrialState.PRUNED, reason="rung 0.5 epochs: score 0.700 ranks 5 of 5 feasible"
    ),
    make_trial(3, state=TrialState.FAIL, reason="out of memory"),
]


def make_console(*, terminal, width=80):
    return Console(file=StringIO(), width=width, force_terminal=terminal, legacy_windows=False, _environ={})


def make_live(*, terminal=False, width=80, trials=()):
    return Live(make_console(terminal=terminal, width=width), total_trials=50, ceiling=0.92, trials=trials)


def drawn(live, *, width=80):
    console = make_console(terminal=False, width=width)
    console.print(live._render())
    return console.file.getvalue()


def flat(text):
    return " ".join(text.split())


def test_time_left_is_unknown_before_two_trials_finished():
    assert seconds_left([60.0], num_left=49) is None


def test_time_left_is_the_mean_times_the_trials_left():
    assert seconds_left([50.0, 70.0], num_left=10) == 600.0


def test_drawing_shows_running_trial_best_and_counts():
    live = make_live(terminal=True)
    live.trial_ended(TRIALS[-1], TRIALS)
    live.trial_started(4, CONFIG)
    live.evaluated(4, EVALUATION)
    text = flat(drawn(live))
    assert "4 of 50 trials, 0 s, about 46 min 0 s left" in text
    assert (
        "running trial 4: freeze depth 4, dropout 0.31, width 128, learning rate 4.1e-5, patience 3" in text
    )
    assert "so far epoch 1.5, validation 86.13 %, training ~93.00 % (over the ceiling), 1 min 4 s" in text
    assert "best trial 0: validation 86.00 %, training 90.00 %" in text
    assert "2 complete (1 under the ceiling), 1 pruned (1 at rung 0.5), 1 failed (1 out of memory)" in text


def test_a_validation_figure_of_a_sample_is_marked():
    live = make_live(terminal=True)
    live.trial_started(4, CONFIG)
    live.evaluated(4, EVALUATION | {"num_validation_texts": 300})
    assert "so far epoch 1.5, validation ~86.13 %, training ~93.00 %" in flat(drawn(live))


def test_a_peek_of_a_running_trial_shows_a_dash_for_training():
    live = make_live(terminal=True)
    live.trial_started(4, CONFIG)
    live.evaluated(4, EVALUATION | {"training_accuracy": None})
    assert "so far epoch 1.5, validation 86.13 %, training -, 1 min 4 s" in flat(drawn(live))


def test_a_continued_study_starts_with_its_trials():
    assert "best trial 0" in flat(drawn(make_live(terminal=True, trials=TRIALS)))


def test_no_time_left_is_drawn_before_two_trials_finished():
    live = make_live(terminal=True, trials=TRIALS[:1])
    assert "left" not in drawn(live)


def test_estimated_time_left_falls_while_a_trial_runs(monkeypatch):
    live = make_live(terminal=True, trials=TRIALS)
    live.trial_started(4, CONFIG)
    later = time.monotonic() + 30
    monkeypatch.setattr("search.trials.progress.time.monotonic", lambda: later)
    assert "about 45 min 30 s left" in flat(drawn(live))


def test_trials_side_by_side_are_all_drawn_and_share_the_time_left():
    live = make_live(terminal=True, trials=TRIALS)
    for number in (4, 5):
        live.trial_started(number, CONFIG)
    live.evaluated(5, EVALUATION)
    text = flat(drawn(live))
    assert "running trial 4: freeze" in text
    assert "running trial 5: freeze" in text
    assert text.count("so far epoch") == 1
    assert "about 23 min 0 s left" in text
    live.trial_ended(TRIALS[-1], TRIALS)
    assert "running trial 5: freeze" in flat(drawn(live))


def test_preparation_is_drawn_with_its_progress():
    live = make_live(terminal=True)
    live.stage("reading reviews")
    live.progress("frozen layers, texts", 1500, 4500)
    text = flat(drawn(live))
    assert "frozen layers, texts: 1,500 of 4,500" in text
    assert "preparing reading reviews" in text


@pytest.mark.parametrize("width", [1, 10, 40, 80, 200])
def test_every_width_can_be_drawn(width):
    live = make_live(terminal=True, trials=TRIALS)
    live.trial_started(4, CONFIG)
    live.evaluated(4, EVALUATION)
    lines = drawn(live, width=width).splitlines()
    assert max(len(line) for line in lines) <= width


def test_redraws_at_most_four_times_a_second():
    assert REDRAWS_PER_SECOND <= 4


def test_on_a_terminal_messages_stay_and_the_rest_vanishes():
    console = make_console(terminal=True)
    with Live(console, total_trials=50, ceiling=0.92) as live:
        live.message("2 trials [of a killed search] were found")
    assert "2 trials [of a killed search] were found" in console.file.getvalue()
    assert console.file.getvalue().endswith("\x1b[2K")


def test_an_interrupt_passes_through_and_the_cursor_comes_back():
    console = make_console(terminal=True)
    with pytest.raises(KeyboardInterrupt), Live(console, total_trials=50, ceiling=0.92):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in console.file.getvalue()


def test_off_the_terminal_every_event_that_matters_is_one_plain_line():
    console = make_console(terminal=False)
    with Live(console, total_trials=50, ceiling=0.92) as live:
        live.stage("reading reviews")
        for done in range(0, 101, 5):
            live.progress("frozen layers, texts", done, 100)
        for last, trial in enumerate(TRIALS, start=1):
            live.trial_started(trial.number, CONFIG)
            live.evaluated(trial.number, EVALUATION)
            live.trial_ended(trial, TRIALS[:last])
    assert console.file.getvalue().splitlines() == [
        "reading reviews",
        "frozen layers, texts: 0 of 100",
        "frozen layers, texts: 25 of 100",
        "frozen layers, texts: 50 of 100",
        "frozen layers, texts: 75 of 100",
        "frozen layers, texts: 100 of 100",
        "[1/50] trial 0 complete: validation 86.00 %, training 90.00 %, 2.5 epochs, 1 min 0 s; patience; best so far",
        "[2/50] trial 1 complete: validation 88.00 %, training 95.00 %, 2.5 epochs, 1 min 0 s; patience",
        "[3/50] trial 2 pruned: validation 70.00 %, training -, 2.5 epochs, 1 min 0 s; rung 0.5 epochs: "
        "score 0.700 ranks 5 of 5 feasible",
        "[4/50] trial 3 failed; out of memory",
    ]


def test_off_the_terminal_there_are_no_control_codes():
    console = make_console(terminal=False)
    with Live(console, total_trials=50, ceiling=0.92) as live:
        live.trial_ended(TRIALS[0], TRIALS)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", console.file.getvalue())


def test_progress_without_a_total_is_finished():
    live = make_live(terminal=True)
    live.progress("frozen layers, texts", 0, 0)
    assert "0 of 0" in drawn(live)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_finds_nothing_to_obey_in_a_reason(terminal):
    hostile = make_trial(0, state=TrialState.FAIL, reason="bug: \x1b]0;title\x07\u202e\ngone")
    live = make_live(terminal=terminal)
    live.trial_ended(hostile, [hostile])
    shown = drawn(live, width=200) if terminal else live._console.file.getvalue()
    assert CONTROL.search(shown.replace("\n", "")) is None
    assert ("1 bug" if terminal else "failed; bug: \\x1b]0;title\\x07\\u202e gone") in shown
