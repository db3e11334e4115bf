"""What a fit of any setup would have shown, learned from a table of learning curves.

A sampler proposes points that the table does not hold. Three smooth models over settings and age (accuracy on texts that were
not trained on, accuracy in training, loss) say what to expect there; differences between seeds of one setup, as they were
measured, are added as luck; and which texts are right follows the nearest fit of the table. The texts that nobody trained on are
divided anew for each simulated study: some are its validation split, the others remain untouched.

Shapes: R rows, S settings, A ages, N texts.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from tasks import TASKS

SETTINGS = ("freeze_depth", "dropout", "head_width", "learning_rate", "epochs")
LAYERS = 6
TRAINING_SAMPLE = 300
HYPER_ROWS = 200
"""Rows that the kernels' lengths are fitted on; all rows are used for what is expected."""

TASK_APART = 1.0

NEAR = 4
"""Pairs of seeds, and fits, among which luck is drawn: those whose settings are nearest."""


@dataclass(frozen=True)
class Curve:
    """What one simulated fit shows at the ages that were asked for."""

    ages: tuple[float, ...]
    right_AN: np.ndarray
    training_accuracy: np.ndarray
    loss: np.ndarray


class Landscape:
    """All setups of one task with one start of the head.

    Args:
        rows: Of a table, of this task and start of the head.
        donors: Rows with two seeds a setup; may be of other tasks where this one has single seeds.
        models: What to expect: of accuracy, accuracy in training, and loss, each from points to figures.
    """

    def __init__(self, rows, donors, models):
        self.task = rows.task.iloc[0]
        task = TASKS[self.task]
        self.num_train, self.num_validation = task.train, task.validation
        self.rows = rows.reset_index(drop=True)
        self.bits_RN = np.stack([_bits(row, task) for row in rows.itertuples()])
        self.inputs_RS = inputs(self.rows)
        self.ages_R = self.rows.age.to_numpy()
        self.fit_R = self.rows.groupby(["setup", "seed"]).ngroup().to_numpy()
        self.models = models
        last = rows.groupby(["setup", "seed"]).age.transform("max").to_numpy() == rows.age.to_numpy()
        self.ease_N = self.bits_RN[last].mean(axis=0)
        self.churn, self.luck = 0.0, 1.0
        self.pairs = _pairs(donors)
        self._fit_churn(donors)
        self._fit_costs()

    def expected(self, settings, ages):
        """Return expected accuracy, accuracy in training and loss of a setup at each age."""
        return self.expected_of([settings] * len(ages), ages)

    def expected_of(self, settings, ages):
        """Return the same of many setups, each at its own age."""
        points = inputs(settings, ages)
        logits, training, log_loss = (model(points) for model in self.models)
        return _share(logits), _share(training), np.exp(log_loss)

    def curve(self, settings, ages, generator):
        """Draw a fit."""
        points_AS = inputs([settings] * len(ages), ages)
        expected = [model(points_AS) for model in self.models]
        for mean, luck in zip(expected, self._luck(settings, ages, generator), strict=True):
            mean += luck
        counts = np.rint(_share(expected[0]) * self.bits_RN.shape[1]).astype(int)
        noise_N = generator.normal(size=self.bits_RN.shape[1])
        right_AN = np.zeros((len(ages), self.bits_RN.shape[1]), dtype=bool)
        distance_R = ((self.inputs_RS[:, :5] - points_AS[0, :5]) ** 2).sum(axis=1)
        own = np.flatnonzero(self.fit_R == self.fit_R[np.argmin(distance_R)])
        own_ages = self.ages_R[own]
        for i, age in enumerate(ages):
            base = self.bits_RN[own[np.argmin(abs(own_ages - age))]]
            key_N = base + 0.5 * self.ease_N + self.churn * noise_N
            right_AN[i, np.argpartition(-key_N, counts[i] - 1)[: counts[i]]] = True
        sampled = generator.binomial(TRAINING_SAMPLE, _share(expected[1])) / TRAINING_SAMPLE
        return Curve(tuple(ages), right_AN, sampled, np.exp(expected[2]))

    def seconds(self, settings, *, epochs=0.0, texts=0):
        """Return processor seconds of training for so long and of looking at so many texts."""
        layers = LAYERS - settings["freeze_depth"]
        training = self.epoch_cost[0] + self.epoch_cost[1] * layers
        return epochs * training + texts * (self.text_cost[0] + self.text_cost[1] * layers)

    def _luck(self, settings, ages, generator):
        """Draw a measured difference between two seeds of a setup much like this one."""
        own = np.array([math.log(settings["learning_rate"]), 0.3 * settings["epochs"]])
        near = sorted(self.pairs, key=lambda pair: float(((pair[0] - own) ** 2).sum()))[:NEAR]
        _, known_ages, differences = near[generator.integers(len(near))]
        size = self.luck * generator.choice((-1.0, 1.0)) * generator.uniform(0.5, 1.5)
        where = np.log2(np.maximum(ages, 1 / 32))
        return [size * np.interp(where, np.log2(np.maximum(known_ages, 1 / 32)), d) for d in differences]

    def _fit_churn(self, donors):
        """Find how much noise makes two seeds of a setup disagree about as many texts as they did.

        And what share of their difference in accuracy is luck of one fit: two fits differ by that of both, and, on so few
        texts, by which of those they disagree about, which does not tell of other texts.
        """
        task = TASKS[donors.task.iloc[0]]
        last = donors[donors.groupby(["setup", "seed"]).age.transform("max") == donors.age]
        disagree, squares, by_texts = [], [], []
        for _, both in last.groupby("setup"):
            if len(both) == 2:
                first, second = (_bits(row, task) for row in both.itertuples())
                difference = first.mean() - second.mean()
                disagree.append((first != second).mean() - abs(difference))
                squares.append(difference**2)
                by_texts.append((first != second).mean() / len(first))
        true = max(0.0, np.mean(squares) - np.mean(by_texts)) / np.mean(squares)
        self.luck = math.sqrt(true / 2)
        wanted = float(np.median(disagree))
        generator = np.random.default_rng(0)
        base = self.bits_RN[-1]
        size, count = len(base), int(base.sum())
        low, high = 0.0, 3.0
        for _ in range(12):
            middle = (low + high) / 2
            keys = base + 0.5 * self.ease_N + middle * generator.normal(size=(8, size))
            right = keys >= -np.partition(-keys, count - 1, axis=1)[:, count - 1 : count]
            seen = np.mean([(right[i] != right[i + 1]).mean() for i in range(7)])
            low, high = (middle, high) if seen < wanted else (low, middle)
        self.churn = middle

    def _fit_costs(self):
        last = self.rows[self.rows.groupby(["setup", "seed"]).age.transform("max") == self.rows.age]
        layers = LAYERS - last.freeze_depth.to_numpy(dtype=float)
        looks = self.rows.groupby(["setup", "seed"]).size().loc[list(zip(last.setup, last.seed, strict=True))]
        texts = looks.to_numpy() * (self.bits_RN.shape[1] + TRAINING_SAMPLE)
        design = np.stack([np.ones_like(layers), layers], axis=1)
        per_epoch = last.training_seconds / last.epochs
        per_text = last.evaluation_seconds.to_numpy() / texts
        self.epoch_cost = np.maximum(0, np.linalg.lstsq(design, per_epoch, rcond=None)[0])
        self.text_cost = np.maximum(0, np.linalg.lstsq(design, per_text, rcond=None)[0])


def landscapes(table, *, head_start):
    """Return the landscape of each task that the table has enough of."""
    own = table[table.head_start == head_start]
    counts = own.groupby("task").setup.transform("nunique")
    own = own[counts >= NEAR]
    twice = own.groupby(["task", "setup"]).seed.transform("nunique") == 2
    with_seeds = {task: rows for task, rows in own[twice].groupby("task") if rows.setup.nunique() >= NEAR}
    if not with_seeds:
        return {}
    fullest = max(with_seeds, key=lambda task: with_seeds[task].setup.nunique())
    models = expectations(own)
    return {
        task: Landscape(rows, with_seeds.get(task, with_seeds[fullest]), models[task])
        for task, rows in own.groupby("task")
    }


def targets(rows):
    """Return what is expected by models, a column each: logit of accuracy, the same in training, logarithm of the loss."""
    shares = rows.task.map(lambda task: TASKS[task].validation / (TASKS[task].validation + TASKS[task].test))
    accuracy = shares * rows.validation_accuracy + (1 - shares) * rows.test_accuracy
    loss = shares * rows.validation_loss + (1 - shares) * rows.test_loss
    return np.stack([_logit(accuracy), _logit(rows.training_accuracy), np.log(loss)], axis=1)


def expectations(rows):
    """Learn, of all tasks together, what settings and age lead to; return three functions of points for each task.

    Tasks learn from one another: figures are scaled within each, and a task is one more coordinate.
    """
    columns = ["accuracy", "training", "loss"]
    # Seeds are averaged; settings come along.
    rows = rows.assign(**dict(zip(columns, targets(rows).T, strict=True)))
    rows = rows.groupby(["task", "setup", "age"], as_index=False)[[*SETTINGS, *columns]].mean()
    tasks = sorted(rows.task.unique())
    places = {task: TASK_APART * np.eye(len(tasks))[i] for i, task in enumerate(tasks)}
    points = np.concatenate([inputs(rows), np.stack([places[t] for t in rows.task])], axis=1)
    found = {task: [] for task in tasks}
    for column in columns:
        by_task = rows.groupby("task")[column]
        centre, scale = by_task.mean(), by_task.std() + 1e-6
        z = (rows[column].to_numpy() - rows.task.map(centre)) / rows.task.map(scale)
        smooth = _model(points, z.to_numpy(dtype=float))
        for task in tasks:
            found[task].append(_of_task(smooth, places[task], centre[task], scale[task]))
    return found


def _of_task(smooth, place, centre, scale):
    def expect(points):
        return centre + scale * smooth(np.concatenate([points, np.tile(place, (len(points), 1))], axis=1))

    return expect


def inputs(rows, ages=None):
    """Scale settings and ages: depth, dropout, width, rate, epochs, age, share of the plan, and steps weighted by rate."""
    if hasattr(rows, "itertuples"):
        columns = [rows[name].to_numpy(dtype=float) for name in (*SETTINGS, "age")]
    else:
        columns = [np.array([r[name] for r in rows], dtype=float) for name in SETTINGS] + [np.asarray(ages)]
    depth, dropout, width, rate, epochs, age = columns
    share = np.minimum(1.0, age / epochs)
    # Warm-up over a tenth, then a line down to zero.
    risen = np.where(share < 0.1, share**2 / 0.2, 0.05 + (share - 0.1) * (1 - (share - 0.1) / 1.8))
    walked = np.log(rate * epochs * risen + 1e-6)
    return np.stack(
        [
            depth / LAYERS,
            0.5 * dropout / 0.5,
            0.5 * np.log2(width / 32) / 3,
            np.log(rate / 1e-5) / math.log(100),
            (epochs - 1) / 3,
            np.log2(np.maximum(age, 1 / 32)) / 7,
            share,
            walked / 4,
        ],
        axis=1,
    )


def _bits(row, task):
    parts = ((row.validation_right, task.validation), (row.test_right, task.test))
    return np.concatenate(
        [np.unpackbits(np.frombuffer(b, dtype=np.uint8), count=n) for b, n in parts]
    ).astype(bool)


def _model(points, z):
    """Return a function that expects z; a Gaussian process, its lengths by maximum likelihood."""
    kernel = ConstantKernel(1.0, (0.1, 30)) * Matern(
        np.full(points.shape[1], 1.0), (0.1, 20), nu=2.5
    ) + WhiteKernel(0.02, (1e-4, 0.5))
    some = np.random.default_rng(0).permutation(len(z))[:HYPER_ROWS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lengths at their bounds
        tuned = GaussianProcessRegressor(kernel, random_state=0).fit(points[some], z[some]).kernel_
    fitted = GaussianProcessRegressor(tuned, optimizer=None).fit(points, z)
    smooth, known, alpha = tuned.k1, fitted.X_train_, fitted.alpha_
    return lambda wanted: smooth(wanted, known) @ alpha


def _pairs(rows):
    """List, of each setup with two seeds, how its two curves differ."""
    found = []
    for _, both in rows.groupby("setup"):
        first, second = (part.sort_values("age") for _, part in both.groupby("seed"))
        task = TASKS[first.task.iloc[0]]
        ones = [np.array([_bits(r, task).mean() for r in part.itertuples()]) for part in (first, second)]
        differences = [
            (_logit(ones[0]) - _logit(ones[1])) / math.sqrt(2),
            # The table's own sample of training texts is noise that the study's sample adds again.
            np.zeros(len(first)),
            (np.log(first.test_loss.to_numpy()) - np.log(second.test_loss.to_numpy())) / math.sqrt(2),
        ]
        place = np.array([math.log(first.learning_rate.iloc[0]), 0.3 * first.epochs.iloc[0]])
        found.append((place, first.age.to_numpy(), differences))
    return found


def _logit(share):
    clipped = np.clip(np.asarray(share, dtype=float), 0.005, 0.995)
    return np.log(clipped / (1 - clipped))


def _share(logit):
    return 1 / (1 + np.exp(-logit))


def left_out(table, *, folds=5):
    """Return, for setups that the models did not see, expected and measured accuracy at the end, and the nearest setup's."""
    rows = []
    last = table[table.age == table.epochs]
    for fold in range(folds):
        shown = table[table.setup % folds != fold]
        models = expectations(shown)
        for task, seen in last[last.setup % folds != fold].groupby("task"):
            points = inputs(seen)
            wanted = last[(last.setup % folds == fold) & (last.task == task)]
            if not len(wanted):
                continue
            own = inputs(wanted)
            nearest = ((own[:, None, :5] - points[None, :, :5]) ** 2).sum(axis=2).argmin(axis=1)
            measured = _share(targets(wanted)[:, 0])
            rows.append(
                {
                    "task": task,
                    "fits": len(wanted),
                    "model": _rms(_share(models[task][0](own)) - measured),
                    "nearest": _rms(_share(targets(seen)[nearest, 0]) - measured),
                    "mean": _rms(measured.mean() - measured),
                }
            )
    return rows


def _rms(differences):
    return float(np.sqrt(np.mean(np.square(differences))))
