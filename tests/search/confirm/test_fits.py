from search.confirm.fits import Fit, fitted
from search.trials.news import Death, Fitted, Lost, Silence
from search.trials.pool import Place


class FakeCrew:
    """Two processes whose fits end as planned, one after the other."""

    def __init__(self, plan):
        self.plan = list(plan)
        self.size = 2
        self.under_way = []
        self.patience = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def has_room(self):
        return len(self.under_way) < self.size

    def begin(self, job, _config, *, test):  # noqa: ARG002
        self.under_way.append(job)

    def place(self, job):
        assert job not in self.under_way

    def end_if_silent(self, job, *, seconds):
        self.patience.append((job, seconds))

    def news(self):
        news = self.plan.pop(0)
        self.size = getattr(news, "num_left", None) or self.size
        yield self.under_way.pop(0), news


def test_fits_that_hang_or_were_killed_for_memory_are_told(make_config):
    beside, alone = Death(-9, "for lack of memory", num_left=1), Death(-9, "for lack of memory")
    figures = {"validation_accuracy": 0.8, "training_accuracy": 0.9, "seconds": 1.0, "best_epoch": 1.0}
    figures |= {"test_predictions": [0, 1], "calibration": None}
    crew = FakeCrew([Silence(7.0), beside, Fitted(figures), *[alone] * 3])
    fits = [Fit(f"trial {seed}", make_config(seed=seed)) for seed in (1, 2, 3)]
    said = []
    made = {
        fit.config.seed: r
        for fit, r in fitted(fits, None, crew, lambda fit: fit.config.seed / 2, said.append)
    }
    assert made[1]["reason"] == "timed out: no news for 7 s"
    assert sorted(r["reason"] for r in made.values() if r["reason"]) == [
        "killed for lack of memory",
        "timed out: no news for 7 s",
    ]
    assert sum(r["state"] == "complete" for r in made.values()) == 1
    assert said == [beside.news]
    assert set(crew.patience) == {(0, 0.5), (1, 1.0), (2, 1.5)}


def test_fits_of_lost_nodes_are_made_again_and_say_where_they_ran(make_config):
    figures = {"validation_accuracy": 0.8, "training_accuracy": 0.9, "seconds": 1.0, "best_epoch": 1.0}
    plan = [Lost("beta"), Death(-9), Lost("beta"), Fitted(figures | {"test_predictions": [0, 1]})]
    crew = FakeCrew([*plan, *[Lost("beta")] * 3])
    crew.place = lambda job: Place("beta", ("cpu", "GPU 9")[job], "CPU 7")
    crew.size = 1
    fits = [Fit(f"trial {seed}", make_config(seed=seed)) for seed in (1, 2)]
    made = [r for _, r in fitted(fits, None, crew, lambda _: None, None)]
    assert [(r["state"], r["reason"], r["processor"]) for r in made] == [
        ("complete", None, "CPU 7"),
        ("failed", "node lost: beta", "GPU 9"),
    ]
