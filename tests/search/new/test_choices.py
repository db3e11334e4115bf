import pytest
from messages import make_messages

import search.new.ceiling
import search.new.choices
import search.new.speed
import search.trials
from search.new import choose_settings, main, unnamed
from search.new.cost import Sizes
from search.new.speed import Speed
from search.new.template import GUESS
from search.study.spec import load_spec
from trainers.config import DataConfig
from trainers.data import read_texts

SHORT = Sizes(train=96, validation=32, max_length=8, freeze_depth=1, epochs=2, evaluations_per_epoch=2)
NOTHING = {"fit": {}, "score": {}, "goal": {}, "data": {}, "recipes": {}}


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """A machine on which everything ends at once."""
    monkeypatch.setattr(
        search.new.speed, "measure_speed", lambda *_, workers, **__: Speed(workers, 1e12, 1e12)
    )
    monkeypatch.setattr(search.trials, "measure_memory", lambda *_: 2**20)
    monkeypatch.setattr(search.new.ceiling, "measure_head", lambda *_: 0.96)


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """A source of 160 messages, and its texts."""
    path = tmp_path_factory.mktemp("messages") / "messages.csv"
    path.write_text("message,team\n" + "".join(f'"{text}",{team}\n' for text, team in make_messages(160)))
    data = DataConfig(source=str(path), text="message", label="team")
    return data, read_texts(data)


@pytest.fixture
def choose(messages, tiny_encoder_dir):
    """A function: what is chosen for the messages, with changes of what is named."""

    def choose(*, metric="accuracy", trials=50, minutes=None, tell=lambda _: None, **named):
        return choose_settings(
            *messages,
            named=NOTHING | named,
            metric=metric,
            encoder=str(tiny_encoder_dir),
            device="cpu",
            trials=trials,
            minutes=minutes,
            tell=tell,
        )

    return choose


def test_the_ceiling_lies_above_what_a_head_alone_reaches(choose):
    assert choose()["score"] == {"ceiling": 0.98}


@pytest.mark.parametrize("minutes", [1e-6, 1e4])
def test_with_minutes_it_chooses_as_a_new_study(choose, messages, tiny_encoder_dir, tmp_path, minutes):
    path = tmp_path / "new.toml"
    flags = ["--text", "message", "--label", "team", "--minutes", f"{minutes:f}", "--to", str(path)]
    assert main([messages[0].source, "--encoder", str(tiny_encoder_dir), *flags]) == 0
    spec, chosen = load_spec(path), choose(minutes=minutes)
    written = {
        "goal": {"validation_accuracy": spec.goal.validation_accuracy},
        "score": {"ceiling": spec.score.ceiling},
        "pruning": {"rungs": [*spec.pruning.rungs]},
        "recipes": {"enqueue": [*spec.recipes.enqueue], "epochs": spec.recipes.epochs},
    }
    assert {table: chosen[table] for table in written} == written
    depths = spec.model_dump()["fit"]["freeze_depth"]
    lowest, highest = (depths["low"], depths["high"]) if isinstance(depths, dict) else (depths, depths)
    assert chosen["fit"]["freeze_depth"] == {"low": lowest, "high": highest}
    for key in ("epochs", "evaluations_per_epoch"):
        assert chosen["fit"][key] == spec.fit[key]
    assert chosen["fit"]["patience"]["high"] == spec.fit["patience"].high
    assert chosen.get("start", {}).get("setups", []) == [*spec.start.setups]
    assert chosen["data"].get("folds") == (5 if minutes > 1 else None)
    for key in ("train", "validation", "max_length", "head_tokens", "folds"):
        assert chosen["data"].get(key) == getattr(spec.data, key), key


def test_without_minutes_all_texts_and_two_layers_are_taken_and_the_machine_is_not_measured(
    choose, monkeypatch
):
    monkeypatch.setattr(search.new.speed, "measure_speed", lambda *_, **__: pytest.fail("measured"))
    chosen = choose()
    assert chosen["fit"]["freeze_depth"] == {"low": 1, "high": 3}
    assert not {"train", "validation", "max_length"} & {*chosen.get("data", {})}
    assert chosen["pruning"]["rungs"] == [0.25 * chosen["fit"]["epochs"], 0.5 * chosen["fit"]["epochs"]]


def test_the_first_setup_is_left_out_where_a_setting_of_it_is_named(choose):
    deep = choose(minutes=60)
    assert deep["start"]["setups"] == [
        {**GUESS, "freeze_depth": 0, "patience": deep["fit"]["patience"]["high"]}
    ]
    assert "start" not in choose(minutes=60, fit={"dropout": 0.2})


def test_a_number_of_trials_is_chosen_where_none_is_named(choose):
    assert choose(minutes=60, trials=None)["search"] == {"trials": 50}
    assert "search" not in choose(minutes=60)
    assert "search" not in choose(trials=None)


def test_who_names_a_size_has_sized_the_study(choose, monkeypatch):
    monkeypatch.setattr(search.new.speed, "measure_speed", lambda *_, **__: pytest.fail("measured"))
    chosen = choose(minutes=5, fit={"epochs": 2})
    assert {*chosen} == {"goal", "score", "fit"}
    assert chosen["fit"] == {"head_start": "auto"}
    assert "fit" not in choose(minutes=5, fit={"epochs": 2, "head_start": "random"})


def test_what_is_named_is_not_chosen(choose):
    named = {"score": {"ceiling": 0.5}, "goal": {"validation_accuracy": 0.3}, "fit": {"patience": 2}}
    chosen = choose(**named)
    assert not {"score", "goal"} & {*chosen}
    assert "patience" not in chosen["fit"]


@pytest.mark.parametrize(("ceiling", "start"), [(1.0, "fitted"), (0.99, "auto")])
def test_the_head_start_follows_the_ceiling_that_is_named(choose, ceiling, start):
    assert choose(score={"ceiling": ceiling})["fit"]["head_start"] == start


def test_recipes_are_named_as_a_whole():
    chosen = {"recipes": {"enqueue": ["probe"], "epochs": {"thaw-top": 2}}}
    assert unnamed(chosen, {"recipes": {"enqueue": []}}) == {}
    assert unnamed(chosen, {"recipes": {}}) == chosen


def test_long_texts_keep_their_end(choose, monkeypatch):
    monkeypatch.setattr(search.new.choices, "_usual_sizes", lambda *_, **__: SHORT)
    assert choose()["data"] == {"head_tokens": 2}
    assert "data" not in choose(data={"max_length": 8})


@pytest.mark.parametrize(("metric", "weights"), [("accuracy", None), ("macro_f1", "balanced")])
def test_uneven_classes_weigh_the_same_where_the_metric_looks_at_each(choose, monkeypatch, metric, weights):
    import search.new.template

    monkeypatch.setattr(search.new.template, "UNEVEN", 2.0)  # as if the rarest were far too rare
    assert choose(metric=metric)["fit"].get("class_weights") == weights


def test_what_was_found_is_told(choose):
    told = []
    choose(tell=told.append)
    assert told[0].startswith("The words alone reach ")


@pytest.mark.parametrize("named", [{"folds": None}, {"validation": 40}, {"train": 60}])
def test_who_names_how_texts_are_split_gets_no_folds(messages, tiny_encoder_dir, named):
    data, _ = messages
    data = data.model_copy(update=named)
    chosen = choose_settings(
        data,
        read_texts(data),
        named=NOTHING | {"data": named},
        metric="accuracy",
        encoder=str(tiny_encoder_dir),
        device="cpu",
        trials=50,
        minutes=1e4,
        tell=lambda _: None,
    )
    assert "folds" not in chosen.get("data", {})


def test_without_minutes_there_are_no_folds(choose):
    assert "folds" not in choose().get("data", {})


def test_folds_that_are_named_are_no_obstacle_to_a_ceiling(messages, tiny_encoder_dir, monkeypatch):
    monkeypatch.undo()  # the head is fitted in truth
    data = messages[0].model_copy(update={"folds": 3})
    chosen = choose_settings(
        data,
        read_texts(data),
        named=NOTHING | {"data": {"folds": 3}},
        metric="accuracy",
        encoder=str(tiny_encoder_dir),
        device="cpu",
        trials=50,
        minutes=None,
        tell=lambda _: None,
    )
    assert 0.97 <= chosen["score"]["ceiling"] <= 1
