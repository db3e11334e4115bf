"""What the texts decide of a new study, and this machine where there is a time to keep to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from search.new.ceiling import choose_head_start
from search.new.cost import Sizes
from search.new.few_texts import Planned, folded, unfolded, with_folds
from search.new.sizes import CORE_LAYERS, EVALUATIONS, MARGIN, MOST_TRIALS, STEPS, epochs_of, plan_trials

if TYPE_CHECKING:
    from search.analysis import Aim
    from search.new.cost import Costs
    from search.new.speed import Speed
    from trainers.config import DataConfig, Device, Metric, TrainConfig
    from trainers.data import Splits, Texts
    from trainers.encoder import Encoder

LONGEST_LOOK = 512
"""Tokens of a text that are counted; a new study keeps fewer."""

SIZES = {"freeze_depth", "epochs", "evaluations_per_epoch", "batch_size"}
"""Settings of a fit that decide how long it takes: who names one of them has sized the study."""

Tell = Callable[[str], None]

Chosen = dict[str, dict[str, Any]]
"""Settings by the table of a study's TOML file."""


def choose_settings(
    data: DataConfig,
    texts: Texts,
    *,
    named: Mapping[str, Mapping[str, Any]],
    metric: Metric,
    encoder: str,
    device: Device,
    trials: int | None,
    minutes: float | None,
    tell: Tell,
) -> Chosen:
    """Return the settings that a new study takes from its texts, of those that nobody named.

    Texts, layers and epochs are cut to what ends in time only where there are ``minutes`` and no size is named; else a fit
    has all texts, a few layers and about so many steps.

    Args:
        data: The source, as it was named.
        texts: Read from there.
        named: What is fixed already, by table.
        metric: Of the score.
        encoder: As the user named it.
        device: Where the search will fit.
        trials: Of the search; None chooses them, too, where sizes are chosen: ``search.trials`` of what is returned.
        minutes: That it may take; None if it has no limit.
        tell: Gets what was found, a line at a time.
    """
    from search.new.template import start_kept, weights
    from search.study import Score

    loaded, splits, data = load(encoder, device, data, texts, longest=named["data"].get("max_length"))
    plain, plain_data = unfolded(splits, data)
    config = any_config(loaded, plain_data, metric)
    chosen: Chosen = {"goal": {}, "score": {}, "data": {}, "fit": {}}
    planned = None
    if minutes is not None and not SIZES & {*named["fit"]}:
        costs = folded(
            measure_costs(loaded, plain, config, trials=trials or MOST_TRIALS, tell=tell), splits, metric
        )
        choose = partial(plan_trials, trials=trials, seconds=60 * minutes)
        planned = Planned(texts, data, splits, *choose(costs))
        if "folds" not in named["data"]:
            available = MARGIN * 60 * minutes
            tokenizer = loaded.tokenizer
            planned = with_folds(
                planned, metric=metric, tokenizer=tokenizer, choose=choose, available=available, tell=tell
            )
        if planned.data.folds != data.folds:
            chosen["data"]["folds"] = planned.data.folds
        texts, splits = planned.texts, planned.splits
    if not ("ceiling" in named["score"] and "validation_accuracy" in named["goal"]):
        aim = aim_of(texts, loaded, plain, config, tell=tell)
        chosen["goal"]["validation_accuracy"] = aim.goal
        chosen["score"]["ceiling"] = aim.ceiling
    if planned is not None:
        sizes = planned.plan.sizes
        chosen["recipes"] = {"enqueue": [*planned.plan.recipes], "epochs": {"thaw-top": sizes.epochs}}
        for name in ("train", "validation"):
            if getattr(sizes, name) < len(getattr(splits, name)):
                chosen["data"][name] = getattr(sizes, name)
        chosen["data"]["max_length"] = sizes.max_length
        if trials is None:
            chosen["search"] = {"trials": planned.costs.num_trials}
    else:
        sizes = _usual_sizes(splits, loaded.num_layers, max_length=named["data"].get("max_length"))
    if not SIZES & {*named["fit"]}:
        chosen |= _sized(sizes, loaded.num_layers, named["fit"])
    kept = start_kept(splits, sizes)
    if kept is not None and data.pair is None and "max_length" not in named["data"]:
        chosen["data"]["head_tokens"] = kept
    ceiling = named["score"].get("ceiling", chosen["score"].get("ceiling", Score().ceiling))
    chosen["fit"]["head_start"] = choose_head_start(ceiling)
    if weights(splits, metric) is not None:
        chosen["fit"]["class_weights"] = weights(splits, metric)
    return unnamed(chosen, named)


def _sized(sizes: Sizes, num_layers: int, named: Mapping[str, Any]) -> Chosen:
    """Return what sizes mean for fits and rungs, and the setup that is tried first, unless something of it is ``named``."""
    from search.new.template import first_setup, most_patience

    chosen: Chosen = {
        "fit": {
            "freeze_depth": {"low": sizes.freeze_depth, "high": num_layers},
            "epochs": sizes.epochs,
            "evaluations_per_epoch": sizes.evaluations_per_epoch,
            "patience": {"low": 1, "high": most_patience(sizes)},
        },
        "pruning": {"rungs": [*sizes.rungs]},
    }
    first = first_setup(sizes)
    if first is not None and not {*named} & {*first}:
        chosen["start"] = {"setups": [first]}
    return chosen


def unnamed(chosen: Chosen, named: Mapping[str, Mapping[str, Any]]) -> Chosen:
    """Leave out what is named; recipes are named as a whole."""
    left = {
        table: {key: value for key, value in settings.items() if key not in named.get(table, {})}
        for table, settings in chosen.items()
        if not (table == "recipes" and named.get(table))
    }
    return {table: settings for table, settings in left.items() if settings}


def _usual_sizes(splits: Splits, num_layers: int, *, max_length: int | None) -> Sizes:
    """Return the sizes of a search without a time to keep to."""
    from trainers.config import DataConfig

    epochs = epochs_of(len(splits.train), STEPS)
    return Sizes(
        train=len(splits.train),
        validation=len(splits.validation),
        max_length=max_length or DataConfig.model_fields["max_length"].default,
        freeze_depth=max(0, num_layers - CORE_LAYERS),
        epochs=epochs,
        evaluations_per_epoch=max(1, -(-EVALUATIONS // epochs)),
    )


def load(
    encoder: str, device: Device, data: DataConfig, texts: Texts, *, longest: int | None = None
) -> tuple[Encoder, Splits, DataConfig]:
    """Load encoder and texts, each text cut to ``longest`` tokens, or to those that are counted."""
    from trainers.config import EncoderConfig
    from trainers.data import load_splits
    from trainers.encoder import load_encoder

    loaded = load_encoder(EncoderConfig(name=encoder), device=device)
    longest = min(longest or LONGEST_LOOK, loaded.max_length or LONGEST_LOOK)
    data = data.model_copy(update={"max_length": longest})
    return loaded, load_splits(data, loaded.tokenizer, texts=texts), data


def any_config(encoder: Encoder, data: DataConfig, metric: Metric) -> TrainConfig:
    """Return the configuration of a fit of all layers, as the study will have it."""
    from search.new.cost import PRECISION
    from trainers.config import TrainConfig

    return TrainConfig(
        data=data,
        freeze_depth=0,
        dropout=0.1,
        head_width=64,
        learning_rate=1e-5,
        encoder_dropout=0.0,
        metric=metric,
        device=encoder.device,
        precision=PRECISION,
    )


def aim_of(texts: Texts, encoder: Encoder, splits: Splits, config: TrainConfig, *, tell: Tell) -> Aim:
    """Return goal and ceiling, as the words alone, the majority, and a head on the untouched encoder say."""
    from search.analysis import choose_aim
    from search.new.ceiling import choose_ceiling, measure_head
    from trainers.config import METRIC_NAMES

    aim = choose_aim(texts, metric=config.metric)
    tell(f"The words alone reach {aim.baseline:.1%} validation {METRIC_NAMES[config.metric]}.")
    if aim.majority is not None:
        tell(f"Always answering the most frequent class has {aim.majority:.1%}.")
    reached = measure_head(encoder, splits, config)
    tell(f"A head on the untouched encoder reaches {reached:.1%} in training.")
    return replace(aim, ceiling=max(aim.ceiling, choose_ceiling(reached)))


def measure_costs(encoder: Encoder, splits: Splits, config: TrainConfig, *, trials: int, tell: Tell) -> Costs:
    """Return what a search costs on this machine, which is measured."""
    from search.new.cost import Costs

    speed = _measure_speed(encoder, splits, config, trials=trials, tell=tell)
    embedded = sum(weight.numel() for weight in encoder.model.get_input_embeddings().parameters())
    return Costs(splits, trials, encoder.num_layers, encoder.layer_flops, speed, num_embedded=embedded)


def _measure_speed(
    encoder: Encoder, splits: Splits, config: TrainConfig, *, trials: int, tell: Tell
) -> Speed:
    from search.new.speed import measure_speed
    from search.trials import measure_memory, most_bytes, number_of_workers

    tell("Measuring what this machine can do.")
    little = config.model_copy(update={"freeze_depth": max(0, encoder.num_layers - 2), "batch_size": 8})
    workers = number_of_workers(
        "auto",
        threads=config.threads,
        trials_left=trials,
        num_trials=trials,
        device=encoder.device,
        worker_bytes=lambda: measure_memory(encoder, splits, little),
        most_bytes=lambda: most_bytes(encoder, splits, little),
        tell=tell,
    )
    speed = measure_speed(encoder, splits, config, workers=workers)
    tell(
        f"Training reaches {speed.training / 1e9:.0f} GFLOP/s in each of {in_words(speed)} on {encoder.device}, evaluation "
        f"{speed.evaluation / 1e9:.0f}."
    )
    return speed


def in_words(speed: Speed) -> str:
    """Say how many workers were measured."""
    return f"{speed.workers} worker{'s' * (speed.workers > 1)}"
