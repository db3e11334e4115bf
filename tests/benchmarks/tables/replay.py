"""A search on a simulated clock: the study's own code asks, scores and prunes; the landscape fits."""

import heapq
import itertools
import math
import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import optuna
from landscape import LAYERS, SETTINGS, TRAINING_SAMPLE

from search.study.endings import Ending, Reason
from search.study.space import trial_seed
from search.trials.objective import Attempt
from search.trials.pruning import FeasiblePruner
from trainers.fit.hits import packed
from trainers.fit.looks import PEEK_TEXTS
from trainers.fit.records import Evaluation
from trainers.fit.stopping import EarlyStopping

FEATURES = SimpleNamespace(
    encoder=SimpleNamespace(num_layers=LAYERS, revision=None, device="cpu"), precision="float32"
)
LIVE = SimpleNamespace(trial_started=lambda *_: None, evaluated=lambda *_: None)


@dataclass(frozen=True)
class Ended:
    """A trial of a simulated study.

    Attributes:
        seconds: Of the clock when it ended.
        settings: What was fitted.
        state: complete, pruned or paused.
        epochs: How far it got.
        value: Its score; of one that did not end by itself, the latest.
        validation: Accuracy on the study's validation split.
        training: Accuracy in training.
        test: Accuracy on the texts that the study never saw, with the weights that were restored; of one that did not end
            by itself, None.
        promise: The same, expected over seeds and texts had it run to its end.
    """

    seconds: float
    settings: dict
    state: str
    epochs: float
    value: float
    validation: float
    training: float | None
    test: float | None
    promise: float


class Split:
    """Which texts are validation in one simulated study, and which nobody sees."""

    def __init__(self, landscape, generator):
        order = generator.permutation(landscape.bits_RN.shape[1])
        self.validation = order[: landscape.num_validation]
        self.peek = self.validation[:PEEK_TEXTS]
        self.test = order[landscape.num_validation :]


class SimulatedFit:
    """A fit that takes no time: yields what it costs and what is seen."""

    def __init__(self, landscape, config, rungs, split, seed):
        self.landscape, self.split = landscape, split
        self.settings = {name: getattr(config, name) for name in SETTINGS}
        self.config = config
        full = [
            i / config.evaluations_per_epoch
            for i in range(1, config.evaluations_per_epoch * config.epochs + 1)
        ]
        if config.head_start == "fitted":
            full.insert(0, 0.0)
        self.full = set(full)
        ages = sorted({*full, *(r for r in rungs if r < config.epochs)})
        self.curve = landscape.curve(self.settings, ages, np.random.default_rng(seed))

    def promise(self):
        """Return the accuracy on untouched texts to be expected of the whole fit."""
        ages = sorted(self.full)
        accuracy, _, loss = self.landscape.expected(self.settings, ages)
        return float(accuracy[np.argmin(loss)])

    def looks(self):
        """Yield the seconds up to each look, and the look; last the seconds of the end, and its figures."""
        stopping = EarlyStopping(patience=self.config.patience, ceiling=self.config.ceiling)
        before, full, losses, accuracies, spent = 0.0, [], [], [], 0.0
        stopped = "epochs"
        for i, age in enumerate(self.curve.ages):
            peek = age not in self.full
            seen = self.split.peek if peek else self.split.validation
            texts = len(seen) + (0 if peek else TRAINING_SAMPLE)
            seconds = self.landscape.seconds(self.settings, epochs=age - before, texts=texts)
            before, spent = age, spent + seconds
            right_N = self.curve.right_AN[i, seen]
            training = None if peek else float(self.curve.training_accuracy[i])
            reason = None
            if not peek:
                full.append(i)
                losses.append(float(self.curve.loss[i]))
                accuracies.append(training)
                reason = stopping.reason_to_stop(losses, accuracies)
            is_last = reason is not None or age >= self.config.epochs
            yield seconds, self._evaluation(age, peek, right_N, training, i, spent, is_last=is_last)
            if reason is not None:
                stopped = reason
                break
        best = full[stopping.preference(losses, accuracies)[0]]
        figures = {
            "validation_loss": float(self.curve.loss[best]),
            "validation_accuracy": float(self.curve.right_AN[best, self.split.validation].mean()),
            "training_accuracy": float(self.curve.training_accuracy[best]),
            "training_exact": True,
            "best_epoch": self.curve.ages[best],
            "epochs": before,
            "stopped": stopped,
            "stages": [],
            **_cost(spent),
            "test_accuracy": float(self.curve.right_AN[best, self.split.test].mean()),
        }
        rest = self.landscape.num_train - TRAINING_SAMPLE
        yield self.landscape.seconds(self.settings, texts=rest), figures

    def _evaluation(self, age, peek, right_N, training, i, spent, *, is_last):
        return Evaluation(
            epoch=age,
            peek=peek,
            last=is_last,
            validation_loss=float(self.curve.loss[i]),
            validation_accuracy=float(right_N.mean()),
            training_accuracy=training,
            exact=False,
            hits=packed(self.curve.right_AN[i, self.split.peek]),
            **_cost(spent),
        )


class Replay:
    """One simulated study.

    Args:
        contender: How it searches.
        landscape: What it searches.
        seed: Of the study, its split and its luck.
        workers: Fits under way at once.
        limit: Seconds of the clock after which nothing counts.
        ceiling: As in ``[score]``.
        num_trials: At most so many begin.
    """

    def __init__(
        self, contender, landscape, *, seed, workers=1, limit=math.inf, ceiling=1.0, num_trials=150, stop=None
    ):
        self.contender, self.landscape, self.seed = contender, landscape, seed
        self.workers, self.limit, self.num_trials, self.stop = workers, limit, num_trials, stop
        self.spec = contender.spec(ceiling=ceiling).model_copy(update={"seed": seed})
        self.split = Split(landscape, np.random.default_rng([seed, 7]))
        self.study = optuna.create_study(
            direction="maximize", sampler=self._sampler(0), pruner=contender.pruner_of(self.spec)
        )
        for settings in contender.first:
            self.study.enqueue_trial(settings)
        self.num_begun = 0
        self.finishing = False
        self.paused = []
        self.ended = []

    def run(self):
        """Return the trials that ended within the limit, in that order."""
        heap, order = [], itertools.count()
        for _ in range(self.workers):
            self._next(heap, order, 0.0)
        while heap:
            now, _, under_way = heapq.heappop(heap)
            if now > self.limit:
                break
            if self._take(under_way, now):
                seconds, news = next(under_way.looks)
                under_way.news = news
                heapq.heappush(heap, (now + seconds, next(order), under_way))
            else:
                self._next(heap, order, now)
        return self.ended

    def _sampler(self, number):
        return self.contender.sampler(trial_seed(self.spec.seed + 1, number))

    def _next(self, heap, order, now):
        if self.contender.pause_at is not None and (now >= self._time_to_finish() or self._all_have_begun()):
            under_way = self._resumed(now)
        else:
            under_way = self._begun()
        if under_way is None:
            return
        seconds, under_way.news = next(under_way.looks)
        heapq.heappush(heap, (now + seconds, next(order), under_way))

    def _all_have_begun(self):
        return self.num_begun >= self.num_trials

    def _begun(self):
        """Begin a trial, unless all have begun."""
        if self._all_have_begun() or (self.stop is not None and self.stop(self)):
            return None
        if self.contender.each_anew:
            self.study.sampler = self._sampler(self.num_begun)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # settings of the starting list that the space does not hold
            trial = self.study.ask()
            attempt = Attempt(trial, self.spec, LIVE, features=FEATURES)
        seed = [self.seed, self.num_begun]
        fit = SimulatedFit(self.landscape, attempt.config, self.spec.pruning.rungs, self.split, seed)
        self.num_begun += 1
        return SimpleNamespace(trial=trial, attempt=attempt, fit=fit, looks=fit.looks(), seen=0.0)

    def _resumed(self, now):
        """Go on with the best of those that wait; the others end."""
        if not self.finishing:
            self.finishing = True
            self.paused.sort(key=lambda p: -p.seen)
            for left in self.paused[self.contender.finish :]:
                self._end(left, now, "paused")
            del self.paused[self.contender.finish :]
        return self.paused.pop(0) if self.paused else None

    def _time_to_finish(self):
        """Return when the best fits must go on, so that they end within the limit."""
        if self.finishing:
            return 0.0
        best = sorted(self.paused, key=lambda p: -p.seen)[: self.contender.finish]
        rest = 0.0
        for p in best:
            left = p.fit.config.epochs - self.contender.pause_at
            looks = left * p.fit.config.evaluations_per_epoch * self.landscape.num_validation
            rest += self.landscape.seconds(
                p.fit.settings, epochs=left, texts=looks + self.landscape.num_train
            )
        longest = self.landscape.seconds(
            {"freeze_depth": 0}, epochs=1, texts=2 * self.landscape.num_validation
        )
        return self.limit - rest / min(self.workers, self.contender.finish) - longest

    def _take(self, under_way, now):
        """Take note of news; tells whether the fit goes on."""
        trial, attempt, news = under_way.trial, under_way.attempt, under_way.news
        if isinstance(news, dict):
            value = attempt.fitted(news)
            self.study.tell(trial, value)
            self._end(under_way, now, "complete", value=value)
            return False
        try:
            attempt.evaluated(news)
            if not isinstance(self.study.pruner, FeasiblePruner) and not news.last and trial.should_prune():
                age = {"best_epoch": news.epoch, "epochs": news.epoch}
                attempt._record(
                    {**vars(news), "training_exact": news.exact, **age}, Reason(Ending.RUNG, "pruned")
                )
                raise optuna.TrialPruned
        except optuna.TrialPruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            self._end(under_way, now, "pruned")
            return False
        under_way.seen = news.validation_accuracy
        pause_at = self.contender.pause_at
        if news.epoch == pause_at and news.epoch < attempt.config.epochs and not self.finishing:
            self.paused.append(under_way)
            return False
        return True

    def _end(self, under_way, now, state, value=None):
        news = under_way.news
        figures = news if isinstance(news, dict) else vars(news)
        self.ended.append(
            Ended(
                seconds=now,
                settings=under_way.fit.settings,
                state=state,
                epochs=figures.get("epochs", figures.get("epoch")),
                value=figures["validation_accuracy"] if value is None else value,
                validation=figures["validation_accuracy"],
                training=figures["training_accuracy"],
                test=figures.get("test_accuracy"),
                promise=under_way.fit.promise(),
            )
        )


def _cost(spent):
    return {
        "seconds": spent,
        "training_seconds": 0.0,
        "evaluation_seconds": 0.0,
        "batching_seconds": 0.0,
        "tokens": 0,
        "flops": 0.0,
    }
