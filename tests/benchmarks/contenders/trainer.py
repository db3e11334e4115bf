"""Trainer.hyperparameter_search with Optuna: stock, and tuned as far as its arguments go."""

import sys
import tempfile

import datasets
import numpy as np
import optuna
from common import BATCH_SIZE, Classifier, main, score
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

TUNED = {
    "train_sampling_strategy": "group_by_length",
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
}


def accuracy(prediction):
    return {"accuracy": float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}


def make_trainer(task, model_init, *, folder, tuned, **arguments):
    tokenizer = task.tokenizer()

    def tokenise(rows):
        return tokenizer(rows["text"], truncation=True, max_length=task.max_length)

    parts = {
        name: datasets.Dataset.from_dict({"text": part["texts"], "label": part["labels"]}).map(
            tokenise, batched=True
        )
        for name, part in task.splits.items()
    }
    return Trainer(
        model_init=model_init,
        args=TrainingArguments(
            output_dir=folder,
            num_train_epochs=task.epochs,
            per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=64,
            eval_strategy="epoch",
            report_to="none",
            use_cpu=True,
            bf16=task.bf16,
            **(TUNED if tuned else {}),
            **arguments,
        ),
        train_dataset=parts["train"],
        eval_dataset=parts,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )


def run(task, *, tuned):
    options = {"freeze_embeddings": True, "attention_dropout": 0.0} if tuned else {"freeze_embeddings": False}
    seen = []
    setups = {}

    def setup_of(trial):
        if trial.number not in setups:
            setups[trial.number] = task.setup(trial)
        return setups[trial.number]

    def hp_space(trial):
        return {k: setup_of(trial)[k] for k in ("learning_rate", "seed")}

    def model_init(trial=None):
        # Called once more, without a trial, to look at the model.
        setup = setup_of(trial) if trial else {"freeze_depth": 0, "dropout": 0.1, "head_width": 64}
        return Classifier(task, setup, **options)

    def objective(metrics):
        figures = {k: metrics[f"eval_{k}_accuracy"] for k in ("train", "validation")}
        seen.append({**figures, "trial": max(setups), "at": task.elapsed()})
        return score(figures)

    limits = {"n_trials": len(task.trials), "pruner": optuna.pruners.NopPruner()}
    if not task.trials:
        limits = {
            "n_trials": None,
            "timeout": task.seconds,
            "sampler": optuna.samplers.TPESampler(seed=task.seed),
        }
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(task, model_init, folder=folder, tuned=tuned)
        trainer.hyperparameter_search(
            backend="optuna",
            direction="maximize",
            compute_objective=objective,
            hp_space=hp_space,
            **limits,
        )
    return seen


if __name__ == "__main__":
    main(lambda task: run(task, tuned=sys.argv[3:] == ["tuned"]))
