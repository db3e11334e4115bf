"""Ray Tune around the tuned Trainer, one core a trial; searching with ASHA and OptunaSearch."""

import os
import sys
import tempfile
import time
from pathlib import Path

import ray
from common import Classifier, Task, main, score
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search.optuna import OptunaSearch
from transformers import TrainerCallback

HERE = str(Path(__file__).parent)


class Report(TrainerCallback):
    """Tells Ray of each evaluation, once both splits were looked at."""

    def __init__(self, began):
        self.began = began
        self.found = {}

    def on_evaluate(self, _args, _state, _control, metrics, **_):
        self.found |= {k.split("_")[1]: v for k, v in metrics.items() if k.endswith("_accuracy")}
        if len(self.found) == 2:
            tune.report({**self.found, "score": score(self.found), "at": time.time() - self.began})
            self.found = {}


def fit(config):
    sys.path.insert(0, HERE)
    from trainer import make_trainer

    task = Task(config["task"])
    setup = task.trials[config["index"]] if task.trials else config | {"seed": task.seed}

    def model_init():
        return Classifier(task, setup, freeze_embeddings=True, attention_dropout=0.0)

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            task,
            model_init,
            folder=folder,
            tuned=True,
            learning_rate=setup["learning_rate"],
            seed=setup["seed"],
        )
        trainer.add_callback(Report(config["began"]))
        trainer.train()


def run(task):
    began = time.time()
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": HERE}})
    space = {"task": sys.argv[1], "began": began}
    options = {"metric": "score", "mode": "max"}
    if task.trials:
        space["index"] = tune.grid_search(list(range(len(task.trials))))
        options["scheduler"] = FIFOScheduler()
    else:
        space |= {
            "freeze_depth": tune.randint(task.space["freeze_depth"][0], task.space["freeze_depth"][1] + 1),
            "dropout": tune.uniform(*task.space["dropout"]),
            "head_width": tune.choice(task.space["head_width"]),
            "learning_rate": tune.loguniform(*task.space["learning_rate"]),
        }
        options |= {
            "scheduler": ASHAScheduler(max_t=task.epochs, grace_period=1, reduction_factor=3),
            "search_alg": OptunaSearch(seed=task.seed),
            "num_samples": -1,
            "time_budget_s": task.seconds,
        }
    tuner = tune.Tuner(
        tune.with_resources(fit, {"cpu": 1}), param_space=space, tune_config=tune.TuneConfig(**options)
    )
    wanted = ["train", "validation", "at"]
    return [
        {**row, "trial": number}
        for number, found in enumerate(tuner.fit())
        if found.metrics and "validation" in found.metrics
        for row in found.metrics_dataframe[wanted].to_dict("records")
    ]


if __name__ == "__main__":
    main(run)
