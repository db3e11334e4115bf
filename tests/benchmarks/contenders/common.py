"""What every contender is given, and what it hands back."""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

BATCH_SIZE = 32


class Task:
    """Texts, labels and either a list of trials or a time to search in, read from the driver's JSON file."""

    def __init__(self, path):
        self.__dict__ |= json.loads(Path(path).read_text())
        self.began = time.perf_counter()

    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.model)

    def setup(self, trial):
        """Return the setup of an Optuna trial: from the list, or suggested."""
        if self.trials:
            return self.trials[trial.number]
        return {
            "freeze_depth": trial.suggest_int("freeze_depth", *self.space["freeze_depth"]),
            "dropout": trial.suggest_float("dropout", *self.space["dropout"]),
            "head_width": trial.suggest_categorical("head_width", self.space["head_width"]),
            "learning_rate": trial.suggest_float("learning_rate", *self.space["learning_rate"], log=True),
            "seed": trial.number,
        }

    def elapsed(self):
        return time.perf_counter() - self.began


def score(figures):
    """What this project maximises, too."""
    return figures["validation"] - max(0.0, figures["train"] - 0.92)


class Classifier(nn.Module):
    """Mean-pooled encoder and a small head, as a user of transformers would write it.

    Args:
        task: Names the encoder.
        trial: ``freeze_depth``, ``dropout``, ``head_width``.
        freeze_embeddings: Whether the embeddings are frozen along with the lowest layers. Many freeze the
            layers alone; the backward pass then crosses all of them.
        attention_dropout: Above 0, the encoder's attention takes the slow kernel in training.
    """

    def __init__(self, task, trial, *, freeze_embeddings, attention_dropout=0.1):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(
            task.model, add_pooling_layer=False, attention_probs_dropout_prob=attention_dropout
        )
        frozen = list(self.encoder.encoder.layer[: trial["freeze_depth"]])
        if trial["freeze_depth"] and freeze_embeddings:
            frozen.append(self.encoder.embeddings)
        for part in frozen:
            part.requires_grad_(False)
        self.head = nn.Sequential(
            nn.Dropout(trial["dropout"]),
            nn.Linear(self.encoder.config.hidden_size, trial["head_width"]),
            nn.ReLU(),
            nn.Dropout(trial["dropout"]),
            nn.Linear(trial["head_width"], 2),
        )

    def forward(self, input_ids, attention_mask, labels=None, token_type_ids=None):
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        weight = attention_mask[..., None].float()
        logits = self.head((hidden * weight).sum(1) / weight.sum(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def main(run):
    """Run a contender as a command: task file in, result file out; imports are not part of its seconds."""
    task = Task(sys.argv[1])
    torch.manual_seed(0)
    trials = run(task)
    result = {"seconds": task.elapsed(), "trials": trials}
    Path(sys.argv[2]).write_text(json.dumps(result))
