"""What every pool does, wherever its workers are; and how one is driven."""

import os
import signal
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from search.trials.cluster.actors import Actors
from search.trials.cluster.connection import joined
from search.trials.cluster.options import ClusterOptions
from search.trials.cluster.pool import RayPool
from search.trials.news import Death, Failure, Fitted, Silence
from search.trials.pool import drive
from search.trials.worker_pool import Crew
from trainers.fit.loop import fit
from trainers.fit.records import Evaluation

PEEKS = (0.5,)

pytestmark = pytest.mark.slow


@contextmanager
def local(features, _request):
    """Two local processes, and how that of a job is found."""
    with Crew(features, size=2, peeks=PEEKS) as pool:
        yield pool, lambda job: next(m.process.pid for m in pool._members if m.job == job)


@contextmanager
def on_ray(features, request):
    """Two actors of a Ray cluster, likewise; a process is found while its fit waits for an answer."""
    address = request.getfixturevalue("ray_cluster").address
    import ray

    other = request.getfixturevalue("tmp_path_factory").mktemp("other-node")  # lacks the stored features
    options = {"directory": other, "disk_bytes": 2**30, "tell": lambda _: None}
    with (
        joined(ClusterOptions(cluster=address)),
        RayPool(features, PEEKS, actors=Actors(cpus=1, gpus=0, size=2, fixed=True), **options) as pool,
    ):

        def process(job):
            return ray.get(pool.actors.of(job).actor.process_id.remote())

        yield pool, process


@pytest.fixture(scope="module", params=[local, on_ray])
def workers(request, features):
    """A pool of two, and how the process of a job is found."""
    with request.param(features, request) as (pool, process):
        yield SimpleNamespace(pool=pool, process=process)


@pytest.fixture
def pool(workers):
    return workers.pool


def follow(pool, job):
    """Take the news of one job to its end, always going on."""
    heard = []
    while True:
        for number, news in pool.news():
            assert number == job
            heard.append(news)
            if not isinstance(news, Evaluation):
                return heard
            pool.answer(job, go_on=True)


def first_news(pool):
    while not (heard := list(pool.news())):
        pass
    return heard


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_fit_in_another_process_gives_the_same_bits(pool, features, make_config, depth):
    config = make_config(freeze_depth=depth, ceiling=0.95)
    here = []
    expected = fit(config, features, peeks=PEEKS, on_evaluation=here.append).figures()
    pool.begin(7, config)
    *evaluations, figures = follow(pool, 7)
    exact = ("validation_loss", "validation_accuracy", "training_accuracy", "best_epoch", "stopped", "tokens")
    assert {k: figures.figures[k] for k in exact} == {k: expected[k] for k in exact}
    assert [e.validation_loss for e in evaluations] == [e.validation_loss for e in here]
    assert [e.peek for e in evaluations] == [e.peek for e in here]


def test_two_fits_run_at_once_and_a_third_has_no_room(pool, make_config):
    pool.begin(1, make_config())
    pool.begin(2, make_config(seed=2))
    assert not pool.has_room
    done = set()
    while len(done) < 2:
        for number, news in pool.news():
            if isinstance(news, Fitted):
                done.add(number)
            else:
                pool.answer(number, go_on=True)
    assert pool.has_room


def test_unwanted_fit_ends_and_its_process_takes_the_next(pool, make_config):
    for job in (1, 2, 3):
        pool.begin(job, make_config())
        ((number, news),) = first_news(pool)
        assert isinstance(news, Evaluation)
        pool.answer(number, go_on=False)
    pool.begin(4, make_config())
    assert isinstance(follow(pool, 4)[-1], Fitted)


def test_known_failure_comes_with_its_reason_and_no_trace(pool, make_config):
    pool.begin(1, make_config(learning_rate=1.0, head_learning_rate_ratio=1e30, epochs=5))
    failure = follow(pool, 1)[-1]
    assert failure.reason.text.startswith("diverged: ")
    assert failure.trace == ""


def test_bug_comes_with_its_trace(pool, make_config):
    pool.begin(1, make_config(freeze_depth=9))
    failure = follow(pool, 1)[-1]
    assert isinstance(failure, Failure)
    assert failure.reason.text.startswith("bug: InputError: freeze_depth must be at most 3")
    assert "Traceback" in failure.trace


def until(pool, *jobs, ended):
    """Go on with all jobs until ``ended`` says so of news; returns these, by job."""
    found = {}
    while len(found) < len(jobs):
        for job, news in pool.news():
            if ended(news):
                found[job] = news
            elif isinstance(news, Evaluation):
                pool.answer(job, go_on=True)
    return found


def test_a_killed_worker_is_noticed_and_replaced(workers, make_config):
    pool = workers.pool
    pool.begin(1, make_config(epochs=1000, patience=None))
    assert first_news(pool)[0][0] == 1
    os.kill(workers.process(1), signal.SIGKILL)
    pool.answer(1, go_on=True)
    (death,) = follow(pool, 1)[-1:]
    assert isinstance(death, Death)
    assert death.reason.text.startswith("killed")
    pool.begin(2, make_config(freeze_depth=3))
    pool.begin(3, make_config(freeze_depth=3))
    assert set(
        map(type, until(pool, 2, 3, ended=lambda news: not isinstance(news, Evaluation)).values())
    ) == {Fitted}


def test_a_silent_fit_is_ended_and_its_worker_replaced(workers, make_config):
    pool = workers.pool
    pool.begin(1, make_config(epochs=1000, patience=None))
    first_news(pool)
    os.kill(workers.process(1), signal.SIGSTOP)
    pool.answer(1, go_on=True)
    pool.end_if_silent(1, seconds=0.5)
    assert follow(pool, 1)[-1].reason.text.startswith("timed out: no news for ")
    pool.begin(2, make_config(freeze_depth=3))
    pool.begin(3, make_config(freeze_depth=3))
    assert set(
        map(type, until(pool, 2, 3, ended=lambda news: not isinstance(news, Evaluation)).values())
    ) == {Fitted}


class PlannedCrew:
    """Processes whose fits say what was planned, in turn."""

    def __init__(self, plans, *, size):
        self.plans = plans
        self.size = size
        self.under_way = []
        self.answers = []

    @property
    def has_room(self):
        return len(self.under_way) < self.size

    def news(self):
        job = self.under_way[0]
        said = self.plans[job].pop(0)
        if not isinstance(said, str):
            self.under_way.remove(job)
        yield job, said

    def answer(self, job, *, go_on):
        self.answers.append((job, go_on))
        if not go_on:
            self.under_way.remove(job)


@pytest.fixture
def driven():
    """A function: drive a crew of two through planned news; returns the ends, the crew, and who was under way when watched."""

    def run(*plans, goes_on=lambda *_: True):
        crew, seen, waiting = PlannedCrew([list(p) for p in plans], size=2), [], list(range(len(plans)))

        def begin(num_under_way):
            assert num_under_way == len(crew.under_way)
            if not waiting:
                return None
            crew.under_way.append(waiting.pop(0))
            return crew.under_way[-1]

        ends = list(drive(crew, begin, goes_on=goes_on, watch=lambda: seen.append(tuple(crew.under_way))))
        return ends, crew, seen

    return run


def test_every_fit_is_driven_to_its_end(driven):
    ends, crew, seen = driven([Fitted({})], ["look", Silence(1.0)], [Death(-9)])
    assert ends == [(0, Fitted({})), (1, Silence(1.0)), (2, Death(-9))]
    assert crew.answers == [(1, True)]
    assert seen == [(0, 1), (1, 2), (2,)]


def test_a_fit_that_shall_not_go_on_has_no_end(driven):
    ends, crew, _ = driven(["look"], [Fitted({})], goes_on=lambda job, said: (job, said) != (0, "look"))
    assert ends == [(1, Fitted({}))]
    assert crew.answers == [(0, False)]


def test_without_a_fit_nothing_is_awaited(driven):
    assert driven()[0] == []
