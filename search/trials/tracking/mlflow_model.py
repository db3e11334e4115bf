"""A model directory as MLflow's flavor transformers has it."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from search.trials.tracking.runs import Model

NEEDED = ("torch", "transformers")
"""What the model needs where it is loaded: not Frostline."""


def write_model(model: Model, folder: Path, *, run_id: str, model_id: str) -> None:
    """Write an MLflow model whose folder ``model`` is the model directory as it is, so that all that reads that reads this.

    Args:
        model: What was exported.
        folder: Where; it must not exist.
        run_id: Of the run that it belongs to.
        model_id: Of the model, in MLflow.
    """
    import mlflow.transformers
    from huggingface_hub import ModelCard
    from mlflow.models import Model as MlflowModel, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec
    from transformers import pipeline

    from trainers.model import load

    sides: list[ColSpec | TensorSpec] = [ColSpec("string", side) for side in ("text", "text_pair")]
    answer: list[ColSpec | TensorSpec] = [ColSpec("string", "label"), ColSpec("double", "score")]
    mlflow.transformers.save_model(
        pipeline("text-classification", model=load(model.folder).model, tokenizer=model.folder),
        str(folder),
        task="text-classification",
        # Given, since MLflow would ask the hub of models for it.
        model_card=ModelCard.load(Path(model.folder, "README.md")),
        signature=ModelSignature(Schema(sides), Schema(answer))
        if model.pair
        else None,  # else it knows its own
        mlflow_model=MlflowModel(run_id=run_id, model_id=model_id, model_uuid=model_id),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in NEEDED],
    )
    shutil.rmtree(folder / "model")
    shutil.copytree(model.folder, folder / "model")
