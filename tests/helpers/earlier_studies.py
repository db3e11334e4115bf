"""Studies that other searches left in a folder."""

import optuna
from toys import DATA

from search.storage.database import connect


def make_earlier(folder, name, **attributes):
    """A study in the folder of its own; returns it."""
    (folder / name).mkdir()
    storage = connect(f"sqlite:///{folder}/{name}/study.db")
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for key, value in ({"spec": {}, "encoder_sha256": "ab", "data": DATA} | attributes).items():
        study.set_user_attr(key, value)
    return study
