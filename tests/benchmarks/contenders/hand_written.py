"""Optuna and a hand-written PyTorch loop: tokenised once, batches of like length, fused AdamW, nothing cached; if asked, under autocast."""

import optuna
import torch
from common import BATCH_SIZE, Classifier, main, score


def batches(split, order, size):
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        ids = torch.nn.utils.rnn.pad_sequence([split["ids"][i] for i in rows], batch_first=True)
        yield {
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "labels": torch.tensor([split["labels"][i] for i in rows]),
        }


def bucketed(split, size):
    """Batches of like length in random order."""
    order = torch.randperm(len(split["ids"])).tolist()
    found = []
    for start in range(0, len(order), 50 * size):
        mega = sorted(order[start : start + 50 * size], key=lambda i: len(split["ids"][i]))
        found += [mega[i : i + size] for i in range(0, len(mega), size)]
    for i in torch.randperm(len(found)).tolist():
        yield from batches(split, found[i], size)


@torch.inference_mode()
def accuracy(model, split):
    model.eval()
    order = sorted(range(len(split["ids"])), key=lambda i: -len(split["ids"][i]))
    right = 0
    for batch in batches(split, order, 64):
        labels = batch.pop("labels")
        right += int((model(**batch)["logits"].argmax(-1) == labels).sum())
    return right / len(order)


def run(task):
    tokenizer = task.tokenizer()
    splits = {}
    for name, part in task.splits.items():
        rows = tokenizer(part["texts"], truncation=True, max_length=task.max_length)["input_ids"]
        splits[name] = {"ids": [torch.tensor(r) for r in rows], "labels": part["labels"]}
    seen = []

    def objective(trial):
        chosen = task.setup(trial)
        torch.manual_seed(chosen["seed"])
        model = Classifier(task, chosen, freeze_embeddings=True, attention_dropout=0.0)
        model.forward = torch.autocast("cpu", dtype=torch.bfloat16, enabled=task.bf16)(model.forward)
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=chosen["learning_rate"], fused=True)
        for epoch in range(task.epochs):
            model.train()
            for batch in bucketed(splits["train"], BATCH_SIZE):
                optimizer.zero_grad(set_to_none=True)
                model(**batch)["loss"].backward()
                optimizer.step()
            figures = {name: accuracy(model, splits[name]) for name in ("train", "validation")}
            seen.append({**figures, "trial": trial.number, "at": task.elapsed()})
            trial.report(score(figures), epoch)
            if trial.should_prune():
                break
        if trial.should_prune():
            raise optuna.TrialPruned
        return score(figures)

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=task.seed),
        pruner=optuna.pruners.NopPruner() if task.trials else optuna.pruners.MedianPruner(),
    )
    if task.trials:
        study.optimize(objective, n_trials=len(task.trials))
    else:
        study.optimize(objective, timeout=task.seconds)
    return seen


if __name__ == "__main__":
    main(run)
