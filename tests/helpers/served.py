"""A study in every state, made by hand, and its dashboard over HTTP."""

import http.client
import threading
from contextlib import contextmanager

from optuna.trial import TrialState

from search.dashboard.command import make_server

TOML = """
[data]
source = "imdb"
validation = 100
test = 100

[fit]
freeze_depth = { low = 2, high = 6 }
dropout = { low = 0.0, high = 0.5 }
head_width = [32, 64]
learning_rate = { low = 3e-5, high = 3e-4, log = true }
patience = { low = 1, high = 4 }
"""


def add(study, validation=None, training=None, *, state=TrialState.COMPLETE, reason="patience", **attrs):
    trial = study.ask()
    trial.suggest_int("freeze_depth", 2, 6)
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.suggest_categorical("head_width", [32, 64])
    trial.suggest_float("learning_rate", 3e-5, 3e-4, log=True)
    trial.suggest_int("patience", 1, 4)
    trial.report(0.6, 50)
    for key, value in attrs.items():
        trial.set_user_attr(key, value)
    if state == TrialState.RUNNING:
        return
    trial.set_user_attr("reason", reason)
    value = None
    if training is not None:
        figures = {
            "validation_accuracy": validation,
            "training_accuracy": training,
            "gap": training - validation,
        }
        figures |= {"training_exact": state == TrialState.COMPLETE, "best_epoch": 1.5, "epochs": 2.0}
        for key, figure in figures.items():
            trial.set_user_attr(key, figure)
        over = training - 0.92
        value = validation - max(0.0, over)
        trial.report(value, 100)
        trial.set_constraint("training_accuracy_over_ceiling", over)
        trial.storage.set_trial_system_attr(trial._trial_id, "constraints", [over])
    study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


@contextmanager
def serving(study, store, *, writable=False):
    with make_server(study, store, host="127.0.0.1", port=0, writable=writable) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(port, method="GET", path="/api/studies", *, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers={"Host": f"127.0.0.1:{port}", **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text
