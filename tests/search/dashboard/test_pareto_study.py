import optuna
import pytest
from optuna.trial import TrialState

from search.dashboard.pareto_study import checkpoints, feasible_front, keep_front, shadow_name
from search.run import main
from search.study.opening import open_study
from search.study.spec import load_spec


def look(epoch, validation, training, *, peek=False, exact=False):
    return {
        "epoch": epoch,
        "peek": peek,
        "validation_accuracy": validation,
        "training_accuracy": training,
        "exact": exact,
        "seconds": 10 * epoch,
    }


def add(study, looks, *, state=TrialState.COMPLETE, **attrs):
    trial = study.ask({"learning_rate": optuna.distributions.FloatDistribution(3e-5, 3e-4, log=True)})
    for key, value in {"evaluations": looks, "reason": "patience", **attrs}.items():
        trial.set_user_attr(key, value)
    study.tell(trial, 0.8 if state == TrialState.COMPLETE else None, state=state)


@pytest.fixture
def study(tmp_path):
    made = optuna.create_study(
        storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="toy", direction="maximize"
    )
    looks = [
        look(0.5, 0.6, 0.6, peek=True),
        look(1.0, 0.7, 0.75),
        look(2.0, 0.8, 0.90),
        look(3.0, 0.85, 0.95),
    ]
    add(made, looks, best_epoch=2.0, training_accuracy=0.91, validation_accuracy=0.8, recipe="overfit")
    add(made, [look(1.0, 0.6, 0.65)], state=TrialState.PRUNED)
    add(made, [look(1.0, 0.5, 0.5)], state=TrialState.FAIL)
    yield made
    made._storage._backend.engine.dispose()


@pytest.fixture
def spec(finished_study):
    spec = load_spec(finished_study[0])
    return spec.model_copy(update={"score": spec.score.model_copy(update={"ceiling": 0.92})})


def points(study):
    return [(t.user_attrs["trial"], t.user_attrs["epoch"], t.values) for t in study.trials]


def test_every_evaluation_but_peeks_of_complete_and_pruned_trials_is_a_point(study, spec):
    assert points(keep_front(study, spec)) == [
        (0, 1.0, [0.75, 0.7]),
        (0, 2.0, [0.91, 0.8]),  # restored: the exact training accuracy
        (0, 3.0, [0.95, 0.85]),
        (1, 1.0, [0.65, 0.6]),
    ]


def test_training_goes_down_and_validation_up(study, spec):
    assert [d.name for d in keep_front(study, spec).directions] == ["MINIMIZE", "MAXIMIZE"]


def test_a_point_says_where_it_comes_from(study, spec):
    point = keep_front(study, spec).trials[1]
    assert point.user_attrs == {
        "trial": 0,
        "epoch": 2.0,
        "restored": True,
        "training_exact": True,
        "gap": pytest.approx(0.11),
        "recipe": "overfit",
        "reason": "patience",
        "state": "complete",
    }
    original = study.trials[0]
    assert (point.params, point.distributions) == (original.params, original.distributions)
    assert point.datetime_start == original.datetime_start
    assert point.duration.total_seconds() == 20


def test_a_setting_outside_the_space_stays_as_it_is(study, spec):
    study.enqueue_trial({"learning_rate": 1e-6})
    with pytest.warns(UserWarning, match="out of range"):
        add(study, [look(1.0, 0.6, 0.6)], best_epoch=1.0, training_accuracy=0.6, validation_accuracy=0.6)
    assert keep_front(study, spec).trials[-1].params == {"learning_rate": 1e-6}


def test_infeasible_points_carry_the_constraint_that_the_page_reads(study, spec):
    over = [t.system_attrs["constraints"][0] > 0 for t in keep_front(study, spec).trials]
    assert over == [False, False, True, False]


def test_best_points_are_feasible_ones(study, spec):
    front = keep_front(study, spec)
    best = feasible_front(front.get_trials(), front.directions)
    assert [t.values for t in best] == [[0.75, 0.7], [0.91, 0.8], [0.65, 0.6]]


def test_trials_of_no_constraints_are_among_the_best():
    plain = optuna.create_study(directions=["minimize", "maximize"])
    plain.add_trial(optuna.trial.create_trial(values=[1.0, 2.0]))
    assert len(feasible_front(plain.get_trials(), plain.directions)) == 1


def test_a_second_look_adds_what_is_new_and_nothing_twice(study, spec):
    before = keep_front(study, spec)
    first = points(before)
    assert points(keep_front(study, spec)) == first
    add(study, [look(1.0, 0.9, 0.9)], state=TrialState.PRUNED)
    after = keep_front(study, spec)
    assert after._study_id == before._study_id
    assert points(after) == [*first, (3, 1.0, [0.9, 0.9])]


def test_a_front_of_another_study_of_the_same_name_is_made_anew(study, spec):
    front = keep_front(study, spec)
    front.add_trial(optuna.trial.create_trial(values=[0.1, 0.9], user_attrs={"trial": 7, "epoch": 1.0}))
    assert [trial for trial, *_ in points(keep_front(study, spec))] == [0, 0, 0, 1]


def test_a_study_without_checkpoints_gets_no_front(tmp_path, spec):
    made = optuna.create_study(storage=f"sqlite:///{tmp_path / 'new.db'}", study_name="new")
    assert keep_front(made, spec) is None
    assert [s.study_name for s in optuna.get_all_study_summaries(made._storage)] == ["new"]
    made._storage._backend.engine.dispose()


def test_no_toml_file_can_name_a_study_as_a_front_is_named(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path, ('name = "tiny"', f'name = "{shadow_name("tiny")}"'))
    assert main(["--study", str(path)]) == 2
    assert "name" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_reviews", "plain_report")
def test_a_study_with_a_front_is_continued(write_tiny_study, tmp_path, capsys):
    path = write_tiny_study(tmp_path)
    arguments = ["--study", str(path), "--workers", "1", "--recipes", "none"]
    assert main(["--trials", "1", *arguments]) == 0
    spec = load_spec(path)
    study = open_study(spec, path)
    assert len(keep_front(study, spec).trials) >= 1
    assert main(["--trials", "2", *arguments]) == 0
    assert "2 trials finished" in capsys.readouterr().out
    study = open_study(spec, path)
    assert {t.user_attrs["trial"] for t in keep_front(study, spec).trials} == {0, 1}


def test_the_points_of_a_running_trial_wait_for_its_end(study):
    trial = study.ask()
    trial.set_user_attr("evaluations", [look(1.0, 0.6, 0.6)])
    assert list(checkpoints(study.get_trials()[-1], ceiling=0.92)) == []
