import math
import random

import numpy as np
import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState, create_trial
from scipy.stats import qmc

from search.storage import optuna_private
from search.study import StudySpec, distributions, trial_seed
from search.trials.sampler import SearchSampler, sampler_of
from search.trials.searched import Searched, rank, searched_of, without_recipes

SPACE = {
    "rate": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True),
    "depth": optuna.distributions.IntDistribution(0, 6),
}


def make_study(*, recipes, seed=0):
    """A study of 3 complete and 17 pruned trials, and of recipes that ended at chance."""
    study = optuna.create_study(direction="maximize")
    draw = optuna.samplers.RandomSampler(seed=seed)
    for number in range(20):
        if number in recipes:
            attributes = {"recipe": "frozen-head"}
            params = {"rate": 1e-5, "depth": 6}
            study.add_trial(
                create_trial(value=0.5, params=params, distributions=SPACE, user_attrs=attributes)
            )
        frozen = create_trial(state=TrialState.RUNNING, params={}, distributions={})
        params = {k: draw.sample_independent(study, frozen, k, d) for k, d in SPACE.items()}
        ends = {"value": 0.8 + params["depth"] / 100} if number % 7 == 3 else {"state": TrialState.PRUNED}
        study.add_trial(
            create_trial(
                params=params, distributions=SPACE, intermediate_values={1: 0.6 + params["rate"]}, **ends
            )
        )
    return study


def drawn(study, sampler):
    study.sampler = sampler
    return study.ask(SPACE).params


@pytest.mark.parametrize("recipes", [(0, 1, 2), (0, 19)])
def test_recipes_never_steer_the_search(recipes):
    for seed in range(5):
        alone = drawn(make_study(recipes=()), TPESampler(seed=seed))
        beside = drawn(make_study(recipes=recipes), SearchSampler(seed=seed))
        assert beside == alone


def test_tpe_by_itself_counts_a_recipe_at_chance_among_the_good_trials():
    """Why there is a sampler of our own: complete trials come before pruned ones, whatever they reached."""
    draws = [drawn(make_study(recipes=(0, 1, 2)), TPESampler(seed=seed)) for seed in range(5)]
    assert draws != [drawn(make_study(recipes=()), TPESampler(seed=seed)) for seed in range(5)]
    study = make_study(recipes=(0, 1, 2))
    below, _ = _split_trials(study, study.get_trials(), 6)
    assert [t.user_attrs.get("recipe") for t in below].count("frozen-head") == 3


def test_a_view_without_recipes_leaves_the_study_as_it_is():
    study = make_study(recipes=(0,))
    assert len(without_recipes(study).get_trials()) == 20
    assert len(study.get_trials()) == 21
    assert [t.number for t in without_recipes(study).get_trials()] == list(range(1, 21))


def test_few_searched_trials_are_drawn_at_random_however_many_recipes_ran():
    study = optuna.create_study(direction="maximize")
    for _ in range(12):
        study.add_trial(
            create_trial(
                value=0.5,
                params={"rate": 1e-5, "depth": 6},
                distributions=SPACE,
                user_attrs={"recipe": "usual"},
            )
        )
    empty = optuna.create_study(direction="maximize")
    assert drawn(study, SearchSampler(seed=3)) == drawn(empty, TPESampler(seed=3))


STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def plainly_searched(study, states):
    """The searched trials by a loop over all."""
    trials = study.get_trials(states=states, deepcopy=False)
    return [t.number for t in trials if "recipe" not in t.user_attrs]


def end_at_random(study, trial, draw):
    for step in range(draw.randrange(3)):
        trial.report(draw.choice([0.5, 0.6, math.nan]), step)
    if draw.random() < 0.8:
        trial.set_constraint("over", draw.choice([-0.1, 0.0, 0.02, 0.05]))
    state = draw.choice(STATES)
    value = draw.choice([0.7, 0.8, 0.9]) if state == TrialState.COMPLETE else None
    study.tell(trial, value, state=None if value is not None else state)


def random_search(seed, *, num_steps=80, look=lambda _: None, every=1):
    """A study in which trials begin and end in any order, some of them recipes; looked at now and then."""
    draw, study, under_way = random.Random(seed), optuna.create_study(direction="maximize"), []
    study.sampler = optuna.samplers.RandomSampler(seed=seed)
    for step in range(num_steps):
        if draw.random() < 0.1:
            params = {"rate": 1e-5, "depth": 6}
            study.enqueue_trial(params, user_attrs=draw.choice([{}, {"recipe": "usual"}]))
        if not under_way or draw.random() < 0.5:
            under_way.append(study.ask(SPACE))
        else:
            end_at_random(study, under_way.pop(draw.randrange(len(under_way))), draw)
        if step % every == 0:
            look(study)
    return study


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_up_equals_a_loop_over_all_trials(seed):
    wanted = (
        None,
        (TrialState.COMPLETE, TrialState.PRUNED),
        [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING],
        (TrialState.RUNNING,),
        (TrialState.FAIL, TrialState.COMPLETE),
        (TrialState.WAITING,),
    )

    def look(study):
        trials = study.get_trials(deepcopy=False)
        for states in wanted:
            seen = without_recipes(study).get_trials(states=states)
            assert [t.number for t in seen] == plainly_searched(study, states)
            assert [t.state for t in seen] == [trials[t.number].state for t in seen]

    study = random_search(seed, look=look)
    assert [t.number for t in Searched().look(study.trials).of(None)] == plainly_searched(study, None)
    fewer = searched_of(study).look(study.trials[:5]).of(None)
    assert [t.number for t in fewer] == [n for n in plainly_searched(study, None) if n < 5]


@pytest.mark.parametrize("seed", range(4))
def test_a_search_draws_what_tpe_draws_from_all_its_trials_read_again(seed):
    num_drawn = 0

    def look(study):
        nonlocal num_drawn
        plain = optuna.create_study(direction="maximize")
        for trial in study.trials:
            if "recipe" not in trial.user_attrs:
                plain.add_trial(trial)
        frozen = create_trial(state=TrialState.RUNNING)
        frozen.number = 10_000
        draws = []
        for sampler, of in ((TPESampler(seed=7), plain), (SearchSampler(seed=7), study)):
            of.sampler = sampler
            of._thread_local.cached_all_trials = None  # as ask does
            space = sampler.infer_relative_search_space(of, frozen)
            plainly = TPESampler._sample_relative(
                sampler, of if of is plain else without_recipes(of), frozen, space
            )
            draws.append((space, plainly))
        assert draws[0] == draws[1]
        num_drawn += bool(draws[0][1])

    random_search(seed, num_steps=80, look=look, every=3)
    assert num_drawn > 5


@pytest.mark.parametrize("seed", range(4))
def test_trials_rank_as_tpe_ranks_them(seed):
    study = random_search(seed)
    scored = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    ranked = [t.number for t in sorted(scored, key=rank)]
    for num_best in range(len(scored) + 1):
        good, _ = _split_trials(study, scored, num_best)
        assert {t.number for t in good} == set(ranked[:num_best])


def test_tpe_learns_from_the_best_trials_and_the_latest_ones():
    study = random_search(0, num_steps=200)
    scored = [
        t for t in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)) if not t.user_attrs
    ]
    best = {t.number for t in sorted(scored, key=rank)[:3]}
    seen = without_recipes(study, limit=20, num_best=3).get_trials(
        states=(TrialState.COMPLETE, TrialState.PRUNED)
    )
    others = [t.number for t in scored if t.number not in best]
    assert [t.number for t in seen] == sorted([*best, *others[-17:]])
    assert len(seen) == 20 < len(scored)
    running = without_recipes(study, limit=20, num_best=3).get_trials(
        states=(*STATES[:2], TrialState.RUNNING)
    )
    assert {t.number for t in running} == {t.number for t in seen} | {
        t.number for t in study.trials if t.state == TrialState.RUNNING and not t.user_attrs
    }


def test_a_history_as_long_as_the_search_draws_as_all_of_it_does():
    def draws(history):
        study = make_study(recipes=(0, 5))
        return [drawn(study, SearchSampler(seed=seed, history=history)) for seed in range(5)]

    assert draws(20) == draws(None)
    assert draws(15) != draws(None)


def spec_with(**sampler):
    fit = {
        "freeze_depth": {"low": 0, "high": 6},
        "dropout": {"low": 0.0, "high": 0.6},
        "head_width": [0, 32, 64],
        "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
        "patience": 2,
        "epochs": {"low": 3, "high": 3},
    }
    return StudySpec.model_validate(
        {"name": "toy", "seed": 3, "data": {"source": "imdb"}, "fit": fit, "sampler": sampler}
    )


def asked(spec, study, *, place):
    study.sampler = sampler_of(spec, place=place)
    return study.ask(distributions(spec)).params


def test_sobol_points_are_those_of_scipy():
    spec, study = spec_with(kind="sobol"), optuna.create_study()
    points = qmc.Sobol(4, scramble=True, seed=trial_seed(4, 0)).random(16)
    for place, (depth, dropout, width, rate) in enumerate(points):
        params = asked(spec, study, place=place)
        assert params["head_width"] == [0, 32, 64][int(3 * width)]
        assert params["dropout"] == pytest.approx(0.6 * dropout)
        assert params["learning_rate"] == pytest.approx(1e-5 * 100**rate)
        assert params["freeze_depth"] == min(6, int(7 * depth))


def test_sixteen_sobol_points_fall_into_sixteen_parts_of_a_setting():
    spec, study = spec_with(kind="sobol"), optuna.create_study()
    drawn = [asked(spec, study, place=place)["dropout"] for place in range(16)]
    assert sorted(int(16 * d / 0.6) for d in drawn) == list(range(16))


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_what_learns_nothing_draws_by_the_place_alone(kind):
    spec = spec_with(kind=kind)
    study = optuna.create_study(direction="maximize")
    first = [asked(spec, study, place=place) for place in (4, 5)]
    study.add_trial(
        create_trial(
            value=1.0,
            params={"rate": 1e-5},
            distributions={"rate": SPACE["rate"]},
            user_attrs={"recipe": "usual"},
        )
    )
    assert [asked(spec, study, place=place) for place in (4, 5)] == first
    assert first[0] != first[1]
    assert optuna_private.system_attributes(study) == {}


def test_a_study_that_names_no_sampler_gets_tpe_over_all_trials():
    sampler = sampler_of(spec_with(), place=2)
    assert type(sampler) is SearchSampler
    study = make_study(recipes=())
    assert drawn(study, sampler) == drawn(make_study(recipes=()), TPESampler(seed=trial_seed(4, 2)))
    assert drawn(study, sampler_of(spec_with(kind="random"), place=2)).keys() == SPACE.keys()


def test_random_settings_spread_over_the_space():
    spec, study = spec_with(kind="random"), optuna.create_study()
    drawn = [asked(spec, study, place=place) for place in range(200)]
    assert np.mean([d["dropout"] for d in drawn]) == pytest.approx(0.3, abs=0.05)
    assert {d["freeze_depth"] for d in drawn} == set(range(7))
