"""A complete winner.toml, and what is said of one with mistakes."""

import pytest

from trainers.config import load_config
from trainers.errors import InputError

COMPLETE = """
freeze_depth = 4
dropout = 0.3
head_width = 64
learning_rate = 1e-5
patience = 3

[data]
source = "imdb"
validation = 100
test = 100
"""


def write(tmp_path, text):
    path = tmp_path / "winner.toml"
    path.write_text(text)
    return path


def mistakes(tmp_path, text):
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text))
    return str(caught.value)
