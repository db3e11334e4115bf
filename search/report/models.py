"""``report.json`` as models; ``report.schema.json`` is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from search.analysis import (
    Account,
    CeilingPrice,
    Checkpoint,
    DataPage,
    Flat,
    FreeTable,
    GoalJudged,
    Growth,
    Importances,
    Opponent,
    Opponents,
    Outcome,
    ScaleFigures,
)
from search.study import Count, Counts, Figure, Frozen, Share
from trainers.config import Metric

Setting = Annotated[Any, WithJsonSchema({"type": ["number", "string", "boolean", "null"]})]
TrainingKind = Literal["exact", "estimate", "not measured"]


class FoldsRow(Frozen):
    """What folds say of a trial."""

    done: Count = Field(
        description="Folds that were fitted; fewer than the study has where the trial ended early."
    )
    validation_error: float | None = Field(
        description="Standard error of the mean validation accuracy over them; null of a single one. Their training texts are "
        "mostly the same, so that it is rather too small."
    )
    validation_accuracies: list[Share] = Field(description="Of each.")


class TrialRow(Frozen):
    """A trial."""

    number: Count = Field(description="Counts from 0.")
    state: Literal["complete", "pruned", "fail", "running", "waiting"] = Field(
        description="What has become of it."
    )
    feasible: bool | None = Field(
        description="Whether training accuracy is not above the ceiling; null before that is known."
    )
    value: float | None = Field(
        description="Score: validation accuracy - penalty * max(0, training accuracy - ceiling)."
    )
    settings: dict[str, Setting] = Field(
        description="What the study searches, as it ran in this trial; null where a recipe has none."
    )
    recipe: str | None = Field(description="Name of the recipe, if it is one.")
    start: str | None = Field(
        description="Where the setup comes from: own, portfolio, or trial 24 of imdb; null if from a recipe or the sampler."
    )
    retry_of: int | None = Field(
        description="Number of the trial that was cut off and is repeated by this one."
    )
    reason: str | None = Field(
        description="Why it ended: patience, ceiling, epochs, a rung in words, or a failure."
    )
    validation_accuracy: Figure | None = Field(
        description="Of the restored weights on the whole validation split; of a pruned trial, when it was pruned."
    )
    training_accuracy: Figure | None = Field(description="Of the restored weights.")
    training_exact: bool | None = Field(
        description="Whether training accuracy is over the whole training split; else it is an estimate on a sample."
    )
    num_validation_texts: int | None = Field(
        description="Texts that validation accuracy is over, of a pruned trial that was looked at with a sample; else null: "
        "all."
    )
    training_interval: tuple[float, float] | None = Field(
        description="Of an estimate: where the training accuracy of the whole split lies with 95 % confidence (Wilson); else "
        "null."
    )
    gap: float | None = Field(description="Training - validation accuracy.")
    on_scale: ScaleFigures | None = Field(
        default=None,
        description="Where classes are steps of a scale: of the restored weights on the whole validation split; absent elsewhere.",
    )
    label_f1: dict[str, Share | None] | None = Field(
        default=None,
        description="Where texts may have several labels: F1 of each on the whole validation split, null of one that no text has and "
        "none was given; absent elsewhere.",
    )
    best_epoch: float | None = Field(description="Age of the restored weights, in epochs.")
    epochs: float | None = Field(description="How far the fit got.")
    seconds: float | None = Field(description="Wall time of the fit.")
    tokens: int | None = Field(description="Tokens trained on.")
    training_kind: TrainingKind | None = Field(
        description="What training accuracy is: exact, an estimate on a sample, or not measured (and null) where the trial "
        "was pruned at a peek, which looks at no training text; null before the trial has figures."
    )
    folds: FoldsRow | None = Field(
        default=None,
        description="Where there are folds: figures of the trial are means over those that it fitted. Absent where there is a "
        "validation split, or no fold is done.",
    )

    @property
    def point(self) -> tuple[float, float]:
        """Training and validation accuracy of a trial that has both."""
        assert self.training_accuracy is not None  # noqa: S101
        assert self.validation_accuracy is not None  # noqa: S101
        return self.training_accuracy, self.validation_accuracy


class TrialWithConfig(TrialRow):
    """A trial and all of its configuration."""

    config: FreeTable | None = Field(
        description="The whole configuration of the fit, as winner.toml holds it; null where none was recorded."
    )


class Reported(Frozen):
    """Figures reported elsewhere, of an unnamed model and data set."""

    training_accuracy: Share | None = Field(description="Reported.")
    validation_accuracy: Share | None = Field(description="Reported.")


class Stage(Frozen):
    """What a stage of a recipe restored."""

    freeze_depth: Count = Field(description="Of the stage.")
    validation_accuracy: Figure = Field(description="Whole validation split.")
    training_accuracy: Figure = Field(description="Whole training split.")
    epochs: float = Field(description="How long the stage took.")


class RecipeRow(Frozen):
    """A recipe."""

    recipe: str = Field(description="Its name.")
    story: str = Field(description="What it does.")
    reported: Reported = Field(description="Figures reported elsewhere, of an unnamed model and data set.")
    capped_at: int | None = Field(description="Epochs that the study allows it, if fewer than its own.")
    stages: list[Stage] = Field(
        description="Of a recipe in two stages, what each restored; empty for any other."
    )
    at_chance: str | None = Field(
        description="Why it ended at chance, if it did: how little its steps can move a weight; else null."
    )
    trial: TrialRow | None = Field(description="Its trial; null if it never ran.")


class Cost(Frozen):
    """What the study took."""

    wall_seconds: float | None = Field(description="Over all starts.")
    cache_bytes: int | None = Field(description="Size of its stored features.")
    trial_seconds: float = Field(description="Of all trials.")
    tokens: int = Field(description="Trained on, in all trials.")
    account: Account | None = Field(description="Where the time went; null where it was not measured.")


class NodeRow(Frozen):
    """What the fits of a study took of a node of a cluster."""

    node: str = Field(description="Its name.")
    device: str = Field(description="cpu, or the name of the GPU.")
    processor: str = Field(description="Its name.")
    trials: Count = Field(description="That ended there, pruned and failed ones included.")
    lost: Count = Field(description="Of these, those that ended since the node was lost.")
    seconds: float = Field(description="Of all fits that came to an end there.")


class Encoder(Frozen):
    """What was fine-tuned."""

    name: str = Field(description="As the study's file says.")
    revision: str | None = Field(description="Commit of a hub model.")
    sha256: str | None = Field(description="Fingerprint of its files.")


class Machine(Frozen):
    """Where the report was written."""

    system: str = Field(description="Operating system.")
    processor: str = Field(description="Its name.")
    cores: int | None = Field(description="How many.")


class Summary(Frozen):
    """All that Frostline says about a study, finished or running.

    Accuracies are shares of one, by the study's metric (reported ones of recipes excepted); null is what the study does not
    know.
    """

    study: str = Field(description="Name of the study.")
    seed: Count = Field(
        description="Of the sampler; each trial's own is derived from it and the trial's number."
    )
    metric: Metric = Field(description="By which every accuracy is measured.")
    goal: GoalJudged = Field(description="What the study is after, and whether it got there.")
    best: TrialWithConfig | None = Field(
        description="The best feasible complete trial; null if there is none."
    )
    nearest: TrialWithConfig | None = Field(
        description="The complete trial that misses the goal by the fewest points in all; null before a trial is complete."
    )
    pareto: list[TrialRow] = Field(
        description="Complete trials that no other beats: validation accuracy up, training accuracy down; best validation "
        "first."
    )
    checkpoints: list[Checkpoint] = Field(
        description="Every checkpoint that was evaluated in full, by trial and epoch; trials that were cut off and repeated "
        "are left out."
    )
    checkpoint_front: list[Checkpoint] = Field(
        description="The checkpoints that no other beats, best validation first."
    )
    hypervolume: Growth = Field(
        description="How the area that the front over checkpoints dominates grew, and what that says about more trials."
    )
    ceiling: CeilingPrice | None = Field(
        description="What the ceiling cost in validation and bought in gap, among the checkpoints that were evaluated; null "
        "before the first."
    )
    importances: Importances = Field(
        description="How much each searched setting decided about the score (Optuna's PED-ANOVA), from 20 complete trials on."
    )
    idle_settings: list[str] = Field(
        description="Searched settings that cannot change a fit, or some of whose values cannot: which, why, and what to do. "
        "Absent from reports of earlier versions."
    )
    start: list[str] = Field(
        description="Which trials' setups were given and not the sampler's, and what earlier studies were taken, in sentences."
    )
    flat: Flat | None = Field(
        default=None,
        description="Why the search ended before it had all its trials, if --until-flat ended it and none has finished since; else null. "
        "Absent from reports of earlier versions.",
    )
    opponents: Opponents = Field(
        description="The winner against what people would do without a search, and what each costs."
    )
    majority: Opponent | None = Field(
        default=None,
        description="The winner against what answers the most frequent class whatever the text is; null where that is not known. "
        "Absent from reports of earlier versions.",
    )
    group_effect: float | None = Field(
        default=None,
        description="Where texts belong to groups: how many times the variance of a validation figure is that of as many texts without, "
        "as the answers of complete trials say; errors on validation are its root larger. There is no such key elsewhere.",
    )
    recipes: list[RecipeRow] = Field(
        description="Known answers to the exercise, and what people would do without a search."
    )
    confirmation: Outcome | None = Field(
        description="Finalists fitted again on fresh seeds, and tested; null if that was never done."
    )
    counts: Counts = Field(description="What became of the trials.")
    cost: Cost = Field(description="What the study took.")
    nodes: list[NodeRow] | None = Field(
        default=None,
        description="The nodes of a cluster on which trials were fitted; there is no such key where none was.",
    )
    encoder: Encoder = Field(description="What was fine-tuned.")
    data: DataPage | None = Field(description="The data page; null before the texts were read.")
    spec: FreeTable = Field(
        description="The study's TOML file as it was understood, defaults included and the cache left out."
    )
    machine: Machine = Field(description="Where the report was written.")
    versions: dict[str, str] = Field(description="Of the software that wrote the report.")
    trials: list[TrialRow] = Field(description="All of them; the place of each is its number.")

    @property
    def shown(self) -> TrialWithConfig | None:
        """The trial that a report is about: the best one, else the nearest."""
        return self.best or self.nearest


class _Schema(GenerateJsonSchema):
    """A schema without the titles that pydantic makes of names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Say no: the key is the title."""
        return False


def schema_text() -> str:
    """Return what ``report.schema.json`` holds: every key of a report, described."""
    made = Summary.model_json_schema(schema_generator=_Schema, mode="serialization")
    head = {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": "report.json"}
    return json.dumps(head, indent=2, ensure_ascii=False) + "\n"


def write_schema() -> None:
    """Write ``report.schema.json`` again, beside this file."""
    Path(__file__).with_name("report.schema.json").write_text(schema_text(), encoding="utf-8")
