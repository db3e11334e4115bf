"""Scikit-learn estimators: texts and labels in, a classifier out, of one fit or of a whole search.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import is_multilabel

from trainers.config import (
    PACKAGED_ENCODER,
    Clean,
    DataConfig,
    Device,
    EncoderConfig,
    HeadLogits,
    HeadStart,
    HeadWeights,
    Loss,
    Metric,
    Pooling,
    Precision,
    Schedule,
    TrainConfig,
    load_config,
)
from trainers.data import Split, Splits, Text, cleaned, tokenise
from trainers.encoder import Encoder, load_encoder
from trainers.errors import InputError
from trainers.estimator import (
    TextEstimator,
    check_decisions,
    classes_of,
    indicators,
    named_classes,
    pair_names,
    seed_of,
    texts_of,
    value_errors,
)
from trainers.fit import Features, FitResult, ThresholdAim, build_features, choose_device, fit, pinned
from trainers.model import Decisions, assemble, decisions
from trainers.validation_part import draw

if TYPE_CHECKING:
    from search.sklearn import SearchedTextClassifier as SearchedTextClassifier

CACHE_BYTES = 8 * 2**30

NO_SEPARATOR = ";"
"""Stands for several labels in memory."""

NO_SOURCE = "/texts in memory.csv"
"""Stands where a configuration names its texts; nothing reads it."""

NOT_OF_A_FIT = {
    *("encoder", "revision", "pooling", "clean", "max_length", "head_tokens", "random_state"),
    *("ordered", "positive"),
}
OWN = {"validation_fraction", "cache_directory", "calibration", "threshold"}


def __getattr__(name: str) -> Any:
    """Find ``SearchedTextClassifier``, which stands with the search: nothing here needs that until somebody asks."""
    if name == "SearchedTextClassifier":
        from search.sklearn import SearchedTextClassifier

        return SearchedTextClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TextClassifier(TextEstimator):
    """Fine-tunes a pre-trained encoder on labelled texts.

    Of the texts given to ``fit``, a share is drawn by class for early stopping, none of a class that has but one: the
    weights restored are those of the epoch with the lowest loss on it. Equal settings, texts and seeds give equal weights. Where no default is
    given here or there, a parameter is the setting in ``TrainConfig`` of the same name, with its default.

    Args:
        encoder: ``minilm`` (packaged), a local directory, or a hub id.
        revision: Branch, tag or commit of a hub id.
        pooling: How token vectors become one vector a text.
        freeze_depth: 0 trains everything; k freezes the embeddings and the k lowest layers; None all layers, so that
            the head alone is trained, which is fast.
        dropout: Rate before and after the head's hidden layer.
        head_width: Units of the head's hidden layer; 0 means that there is none.
        learning_rate: Peak rate of AdamW for the encoder's trainable layers, and for the head times the ratio.
        head_learning_rate_ratio: See there.
        patience: Evaluations without a lower validation loss after which a fit ends; None goes on to the last epoch.
        epochs: At most.
        evaluations_per_epoch: Looks at the validation texts.
        batch_size: Texts a step.
        weight_decay: Of AdamW.
        warmup: Share of the steps over which the rate rises.
        schedule: What it does then.
        label_smoothing: Of the training loss.
        encoder_dropout: Rate inside the encoder's trainable layers.
        class_weights: ``balanced`` gives every class the same weight in the loss; a dictionary has one for each label.
        loss: ``cross_entropy``, or ``focal``, in which texts that are surely right count little.
        focal_gamma: How little: 0 is cross-entropy.
        metric: By which ``ceiling`` is measured. Fitted on several labels, ``accuracy`` is that of all labels of a text. With
            ``quadratic_kappa``, which needs ``ordered``, the median class is predicted instead of the most probable one.
        ordered: All labels from the lowest to the highest, where they are steps of a scale; ``figures_`` then has accuracy,
            quadratic kappa and mean absolute error. True takes them as they are sorted; None means that they have no order.
        positive: Of two labels the one that the metric ``average_precision`` is of, and ``threshold``; None takes for that one the
            label with fewer texts that are trained on.
        calibration: ``temperature`` divides the model's logits by the number with the lowest log loss on the texts that are not
            trained on, if these call for one, so that probabilities mean what they say; None leaves them as they are fitted.
        threshold: ``f1``, ``f2``, ``f0.5`` or ``balanced_accuracy``: ``predict`` says one of two labels, or each of several, from
            that probability on that is best for this on the texts that are not trained on. None says the most probable label,
            and each of several from one half on.
        ceiling: Training accuracy above which an epoch counts as over-fitted, and is not restored if another can be.
        clean: What is cut out of texts: ``html``, ``spaces`` or ``none``; see ``DataConfig``.
        max_length: Tokens kept of a text, special ones included.
        head_tokens: Of these, from the start of a longer text, the rest being from its end; None takes all from there.
        cache: Number format of what is stored of the frozen layers.
        head_start: ``fitted`` lets the head begin from what it can read in the untouched encoder; so does ``probe``, a
            logistic regression, of a head without a hidden layer; ``auto`` fits it first where few layers are trained.
        head_weights: Its random weights: ``uniform`` or ``glorot``.
        head_logits: ``one`` gives the head of two classes a single logit.
        thaw: A second stage, with the keys of ``trainers.config.Thaw``; None means none.
        precision: ``bfloat16`` or ``auto`` computes the encoder's layers so, where the processor has arithmetic for it.
        threads: Of the processor.
        device: Where to compute.
        validation_fraction: Share of the texts, between 0 and 1, that is not trained on.
        cache_directory: Where to keep what the frozen layers compute, for other fits on the same texts, as in a grid
            search; None removes it when a fit ends.
        random_state: Of the split and the fit; None draws from numpy's global generator.

    Attributes:
        classes_: The labels, sorted; the columns of ``predict_proba``. Of several labels (``y`` of 0 and 1, a column each) the
            names of these columns, or their numbers.
        classifier_: The ``trainers.model.classifier.Classifier``; ``trainers.model.classifier.save`` writes it.
        figures_: What the fit came to, by name: ``validation_accuracy``, ``training_accuracy``, ``best_epoch`` ...
        config_: The ``TrainConfig`` of the fit.
        decisions_: What ``calibration`` and ``threshold`` chose, and what that does on the texts that are not trained on: see
            ``trainers.model.Decisions``; None without both.
    """

    def __init__(
        self,
        *,
        encoder: str = PACKAGED_ENCODER,
        revision: str | None = None,
        pooling: Pooling = "mean",
        freeze_depth: int | None = None,
        dropout: float = 0.2,
        head_width: int = 64,
        learning_rate: float = 1e-3,
        head_learning_rate_ratio: float = 1.0,
        patience: int | None = None,
        epochs: int = 20,
        evaluations_per_epoch: int = 1,
        batch_size: int = 32,
        weight_decay: float = 0.0,
        warmup: float = 0.0,
        schedule: Schedule = "constant",
        label_smoothing: float = 0.0,
        encoder_dropout: float = 0.1,
        class_weights: Literal["balanced"] | dict[Any, float] | None = None,
        loss: Loss = "cross_entropy",
        focal_gamma: float = 2.0,
        metric: Metric = "accuracy",
        ceiling: float | None = None,
        clean: Clean = "html",
        max_length: int = 128,
        head_tokens: int | None = None,
        ordered: Sequence[Any] | bool | None = None,
        positive: Any = None,
        calibration: Literal["temperature"] | None = None,
        threshold: ThresholdAim | None = None,
        cache: Literal["float16", "float32"] = "float16",
        head_start: HeadStart = "random",
        head_weights: HeadWeights = "uniform",
        head_logits: HeadLogits = "classes",
        thaw: dict[str, Any] | None = None,
        precision: Precision | None = None,
        threads: int = 1,
        device: Device = "cpu",
        validation_fraction: float = 0.2,
        cache_directory: str | Path | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.encoder = encoder
        self.revision = revision
        self.pooling = pooling
        self.freeze_depth = freeze_depth
        self.dropout = dropout
        self.head_width = head_width
        self.learning_rate = learning_rate
        self.head_learning_rate_ratio = head_learning_rate_ratio
        self.patience = patience
        self.epochs = epochs
        self.evaluations_per_epoch = evaluations_per_epoch
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.encoder_dropout = encoder_dropout
        self.class_weights = class_weights
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.metric = metric
        self.ceiling = ceiling
        self.clean = clean
        self.max_length = max_length
        self.head_tokens = head_tokens
        self.ordered = ordered
        self.positive = positive
        self.calibration = calibration
        self.threshold = threshold
        self.cache = cache
        self.head_start = head_start
        self.head_weights = head_weights
        self.head_logits = head_logits
        self.thaw = thaw
        self.precision = precision
        self.threads = threads
        self.device = device
        self.validation_fraction = validation_fraction
        self.cache_directory = cache_directory
        self.random_state = random_state

    @classmethod
    def from_config(cls, path: str | Path, **changes: Any) -> Self:
        """Return an estimator with the settings of a TOML file, such as an exported ``winner.toml``.

        Args:
            path: Of the file; the texts that it names are not read.
            **changes: Parameters that are to differ.

        Raises:
            InputError: Every mistake in the file, in one message.
        """
        config = load_config(Path(path))
        if config.stop_at is not None:
            raise InputError(
                f"{path} must be of a fit that has a validation split, got stop_at = {list(config.stop_at)}: its model was fitted on "
                "all folds, for as long as these said; fit it with python -m trainers.train, or take stop_at and data.folds out"
            )
        settings = config.model_dump(exclude={"data", "encoder", "seed", "stop_at"})
        settings |= {"encoder": config.encoder.name, "random_state": config.seed}
        settings |= config.encoder.model_dump(exclude={"name"})
        settings |= {
            key: getattr(config.data, key)
            for key in ("clean", "max_length", "head_tokens", "ordered", "positive")
        }
        return cls(**{**settings, **changes})

    def fit(self, X: Sequence[Text], y: Sequence[Any], groups: Sequence[Any] | None = None) -> Self:
        """Fine-tune on texts, or pairs of texts, and their labels.

        Args:
            X: The texts.
            y: Their labels.
            groups: What each text belongs to, such as a patient: none is both trained on and stopped by. None means that
                each text stands for itself.

        Raises:
            ValueError: Texts, labels or settings cannot be used.
            FitError: The fit diverged or ran out of memory.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        given = texts_of(X)
        texts = [cleaned(text, self.clean)[0] for text in given]
        several = is_multilabel(y)
        self.classes_, labels_N = indicators(y) if several else classes_of(y)
        check_consistent_length(texts, labels_N)
        order, positive = named_classes(self.classes_, ordered=self.ordered, positive=self.positive)
        if order is not None:
            labels_N = np.argsort(order)[labels_N]
        seed = seed_of(self.random_state)
        if groups is not None:
            check_consistent_length(texts, groups)
        together = None if groups is None else column_or_1d(groups)
        train, validation = draw(
            texts, labels_N, together, classes=self.classes_, fraction=self.validation_fraction, seed=seed
        )
        check_decisions(
            self.calibration, self.threshold, names=list(map(str, self.classes_)), several=several
        )
        with value_errors():
            encoder = load_encoder(
                EncoderConfig(name=self.encoder, revision=self.revision, pooling=self.pooling),
                device=choose_device(self.device),
            )
            config = self.config_ = pinned(
                self._config(encoder, seed, pair=pair_names(X, given), several=several, order=order)
            )

            def part(rows: npt.NDArray[np.int64]) -> Split:
                return tokenise([texts[i] for i in rows], labels_N[rows], config.data, encoder.tokenizer)

            names = tuple(map(str, self.classes_ if order is None else self.classes_[order]))
            splits = Splits(
                train=part(train),
                validation=part(validation),
                test=part(train[:0]),
                class_names=names,
                duplicates=0,
                contradictions=0,
                mended=0,
                ordered=order is not None,
                positive=positive,
            )
            with tempfile.TemporaryDirectory() as scratch:
                features = build_features(
                    encoder,
                    splits,
                    config,
                    depths=sorted(config.depths),
                    directory=Path(self.cache_directory or scratch),
                    disk_bytes=CACHE_BYTES,
                )
                result = fit(config, features)
                found = self.decisions_ = self._decide(config, features, result)
        self.figures_, self._order = result.figures(), order
        self.classifier_ = assemble(
            encoder,
            config,
            result,
            names=names,
            temperature=found.calibration.temperature if found else 1.0,
            thresholds=found.thresholds if found else {},
        )
        return self

    def _decide(self, config: TrainConfig, features: Features, result: FitResult) -> Decisions | None:
        if self.calibration is None and self.threshold is None:
            return None
        return decisions(config, features, result, aim=self.threshold, scale=self.calibration is not None)

    def _config(
        self,
        encoder: Encoder,
        seed: int,
        *,
        pair: tuple[str, str] | None,
        several: bool,
        order: npt.NDArray[np.int64] | None,
    ) -> TrainConfig:
        settings = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in self.get_params(deep=False).items()
            if key not in NOT_OF_A_FIT | OWN
        }
        if isinstance(self.class_weights, dict):
            settings["class_weights"] = {str(label): weight for label, weight in self.class_weights.items()}
        if self.freeze_depth is None:
            settings["freeze_depth"] = encoder.num_layers
        if (
            several and settings["metric"] == "accuracy"
        ):  # as both have it: all labels of a text must be right
            settings["metric"] = "subset_accuracy"
        data = DataConfig(
            source=NO_SOURCE,
            label_separator=NO_SEPARATOR if several else None,
            text=pair,
            clean=self.clean,
            max_length=self.max_length,
            head_tokens=self.head_tokens,
            ordered=None if order is None else tuple(map(str, self.classes_[order])),
            positive=None if self.positive is None else str(self.positive),
            seed=seed,
        )
        chosen = EncoderConfig(name=self.encoder, revision=self.revision, pooling=self.pooling)
        return TrainConfig.model_validate({**settings, "data": data, "encoder": chosen, "seed": seed})
