import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

from search.study import attributes as attr, results
from search.study.endings import Ending, Reason, reason_of
from search.study.spec import StudySpec
from search.trials.catching_up import Z, behind, reason_to_end
from search.trials.objective import Attempt
from trainers.data.splits import Split
from trainers.fit import FoldResult, design_effect, error_of_mean, groups_of_hits
from trainers.fit.hits import packed

FOLDED = StudySpec.model_validate(
    {
        "name": "toy",
        "data": {"source": "imdb", "folds": 3},
        "fit": {"freeze_depth": 2, "dropout": 0.1, "head_width": 8, "learning_rate": 1e-3, "patience": 2},
        "score": {"ceiling": 0.9, "penalty": 2.0},
    }
)
FEATURES = SimpleNamespace(
    encoder=SimpleNamespace(num_layers=2, revision="c0ffee", device="cpu"), precision="float32"
)


class QuietLive:
    def trial_started(self, number, config):
        pass


def cost(fold):
    seconds = {f"{name}_seconds": 1.0 * fold for name in ("training", "evaluation", "batching")}
    return {"seconds": 3.0 * fold, **seconds, "tokens": 100 * fold, "flops": 1e9 * fold}


def hits(*right, of=50):
    return [{"hits": packed(np.arange(of) < count)} for count in right]


def compare(own, best, **options):
    scores = np.mean(own) / 50, np.mean(best[: len(own)]) / 50
    return behind(hits(*own), hits(*best), scores=scores, num_folds=3, **options)


def test_the_error_is_that_of_paired_texts():
    found = compare([30, 35], [40, 35, 50])
    differences = np.array([0.0] * 30 + [1.0] * 10 + [0.0] * 60)
    assert found.points == pytest.approx(0.1)
    assert found.error == pytest.approx(differences.std(ddof=1) / 10)
    assert (found.share, found.num_texts) == (2 / 3, 100)
    assert compare([30, 35], [40, 35, 50], inflation=2.0).error == pytest.approx(2 * found.error)


def test_what_is_left_is_predicted_from_what_is_known():
    found = compare([30, 35], [40, 35, 50])
    assert found.is_final is (found.points > Z * found.error * math.sqrt(1 / 3))
    assert found.is_final
    elsewhere = [{"hits": packed(np.roll(np.arange(50) < 34, 15))}]  # other texts, one less of them
    assert not behind(elsewhere, hits(35, 35, 35), scores=(0.68, 0.70), num_folds=3).is_final
    assert not compare([40], [35, 35, 35]).is_final


def test_the_reason_names_fold_trial_and_figures():
    reason = reason_to_end(compare([30, 35], [40, 35, 50]), fold=2, num_folds=3, best=7)
    assert reason.ending is Ending.FOLD
    assert reason.text == "fold 2 of 3: 10.0 points behind trial 7 on the same 100 texts, standard error 3.0"
    assert Reason.of_text(reason.text) == reason
    assert reason.heading == "fold 2"
    assert reason_to_end(compare([40], [35, 35, 35]), fold=1, num_folds=3, best=7) is None


def fold(number, right, training=0.85):
    return FoldResult(
        fold=number,
        validation_loss=0.5,
        validation_accuracy=right / 50,
        training_accuracy=training,
        best_epochs=(float(number),),
        best_epoch=float(number),
        epochs=4.0,
        stopped="patience",
        hits=packed(np.arange(50) < right),
        **cost(number),
    )


@pytest.fixture
def run():
    """A function: run a trial whose folds come to these numbers of right texts of 50."""
    from trainers.fit import figures_of_folds

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def run_one(*folds, spec=FOLDED, features=FEATURES, **attributes):
        trial = study.ask()
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        attempt = Attempt(trial, spec, QuietLive(), features=features)
        try:
            for one in folds:
                attempt.told(one)
            study.tell(trial, attempt.fitted(figures_of_folds(folds)))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return study.trials[trial.number]

    return run_one


def test_the_score_is_that_of_the_means(run):
    assert run(fold(1, 30, 0.97), fold(2, 30, 0.97), fold(3, 30, 0.85)).value == pytest.approx(0.6 - 2 * 0.03)
    trial = run(fold(1, 30, 0.95), fold(2, 40, 0.80), fold(3, 35, 0.80))
    assert trial.value == pytest.approx(0.7)  # their mean training accuracy keeps under the ceiling of 0.9
    assert results.is_feasible(trial)


def test_a_trial_that_cannot_win_ends_after_a_fold(run):
    run(fold(1, 40), fold(2, 40), fold(3, 40))
    trial = run(fold(1, 25), fold(2, 50), fold(3, 50))
    assert trial.state.name == "PRUNED"
    assert reason_of(trial).heading == "fold 1"
    assert [f["fold"] for f in trial.user_attrs[attr.FOLDS]] == [1]
    assert trial.user_attrs[attr.VALIDATION_ACCURACY] == 0.5
    assert trial.user_attrs[attr.NUM_VALIDATION_TEXTS] == 50


def test_nothing_ends_early_without_a_feasible_peer_as_a_recipe_or_where_pruning_is_off(run):
    assert run(fold(1, 40, 0.95), fold(2, 40, 0.95), fold(3, 40, 0.95)).state.name == "COMPLETE"
    assert run(fold(1, 25), fold(2, 25), fold(3, 25)).state.name == "COMPLETE"
    run(fold(1, 45), fold(2, 45), fold(3, 45))
    weak = [fold(1, 25), fold(2, 25), fold(3, 25)]
    off = FOLDED.model_copy(update={"pruning": FOLDED.pruning.model_copy(update={"rungs": ()})})
    assert run(*weak, spec=off).state.name == "COMPLETE"
    assert run(*weak, recipe="probe").state.name == "COMPLETE"
    assert run(*weak).state.name == "PRUNED"


def test_a_trial_that_came_further_has_the_later_step(run):
    run(fold(1, 40), fold(2, 40), fold(3, 40))
    early, late = run(fold(1, 20)), run(fold(1, 40), fold(2, 20))
    assert early.state.name == late.state.name == "PRUNED"
    assert early.last_step < late.last_step


def test_where_texts_belong_to_groups_the_error_is_one_of_other_groups():
    groups = [np.arange(50) // 10, 5 + np.arange(50) // 10, 10 + np.arange(50) // 10]
    found = compare([30, 35], [40, 35, 50], groups=groups)
    differences = np.array([0.0] * 30 + [1.0] * 10 + [0.0] * 60)
    assert found.error == pytest.approx(error_of_mean(differences, np.arange(100) // 10))
    assert found.error > 3 * compare([30, 35], [40, 35, 50]).error  # the ten texts are one group


def test_a_trial_keeps_how_much_less_its_texts_say_where_they_belong_to_groups(run):
    groups_N = np.arange(150) // 10
    texts = Split(np.zeros(0, np.int32), np.zeros(151, np.int64), np.arange(150) % 2, groups_N=groups_N)
    splits = SimpleNamespace(train=texts, folds=3, clusters_N=groups_N)
    features = SimpleNamespace(encoder=FEATURES.encoder, precision="float32", splits=splits)
    grouped = FOLDED.model_copy(
        update={"data": FOLDED.data.model_copy(update={"source": "notes.csv", "group": "patient"})}
    )
    trial = run(fold(1, 40), fold(2, 40), fold(3, 40), spec=grouped, features=features)
    groups = groups_of_hits(splits, grouped.data)
    hits_N = np.concatenate([np.arange(50) < 40] * 3)
    expected = design_effect(hits_N, np.concatenate(groups), all_N=groups_N)
    assert trial.user_attrs[attr.DESIGN_EFFECT] == pytest.approx(expected)
    assert expected > 1
    assert attr.DESIGN_EFFECT not in run(fold(1, 45), fold(2, 45), fold(3, 45)).user_attrs
