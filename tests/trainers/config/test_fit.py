import pytest
from pydantic import ValidationError

from trainers.config import as_toml, load_config
from trainers.errors import InputError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("freeze_depth", -1),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("head_width", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("patience", 0),
        ("epochs", -1),
        ("batch_size", 0),
        ("warmup", 1.0),
        ("ceiling", 0.0),
        ("schedule", "cosine"),
        ("cache", "bfloat16"),
        ("seed", -1),
        ("loss", "hinge"),
        ("focal_gamma", -0.5),
        ("focal_gamma", float("nan")),
    ],
)
def test_a_value_out_of_range_is_refused(make_config, key, value):
    with pytest.raises(ValidationError) as caught:
        make_config(**{key: value})
    assert [mistake["loc"] for mistake in caught.value.errors()] == [(key,)]


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_a_device_may_be_one_gpu_of_several(make_config, tmp_path, device):
    path = tmp_path / "fit.toml"
    path.write_text(as_toml(make_config(device=device)))
    assert load_config(path).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:01", "cuda:-1", "mps:0", "auto", ""])
def test_what_is_no_device_is_refused(tmp_path, make_config, device):
    path = tmp_path / "fit.toml"
    path.write_text(as_toml(make_config()).replace('device = "cpu"', f'device = "{device}"'))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: device: must be cpu, cuda, cuda:N (the GPU of number N) or mps, got {device!r}"
    )


def test_a_probe_is_for_a_linear_head(make_config):
    with pytest.raises(
        ValidationError, match="without a hidden layer, got head_width = 8; set head_width = 0"
    ):
        make_config(head_start="probe")
    assert make_config(head_start="probe", head_width=0).head_width == 0


@pytest.mark.parametrize("start", ["auto", "random", "fitted"])
def test_only_a_probe_may_train_nothing(make_config, start):
    with pytest.raises(ValidationError, match=f'got 0 with head_start = "{start}"; raise it'):
        make_config(head_start=start, epochs=0)
    assert make_config(head_start="probe", head_width=0, epochs=0).epochs == 0


@pytest.mark.parametrize(
    ("layers", "depth", "start"),
    [
        (6, 6, "fitted"),
        (6, 5, "fitted"),
        (6, 4, "random"),
        (12, 10, "fitted"),
        (12, 9, "random"),
        (1, 0, "fitted"),
    ],
)
def test_a_head_is_fitted_first_where_few_layers_are_trained(make_config, layers, depth, start):
    config = make_config(head_start="auto", freeze_depth=depth)
    assert config.with_head_start(layers).head_start == start
    for named in ("random", "fitted"):
        assert make_config(head_start=named, freeze_depth=depth).with_head_start(layers).head_start == named


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"spam": 5.0, "ham": 0.0}, "must be numbers above 0, got 'ham' 0.0; change them"),
        (
            {"a": -1, "b": float("nan"), "c": "2", "d": True, "e": float("inf"), "f": 1},
            "must be numbers above 0, got 'a' -1, 'b' nan, 'c' '2', 'd' True, 'e' inf; change them",
        ),
        ({}, 'must be "balanced" or a table of weights by class, got {}; write { spam = 5.0, ham = 1.0 }'),
        (5.0, 'must be "balanced" or a table of weights by class, got 5.0; write { spam = 5.0, ham = 1.0 }'),
        (
            "even",
            "must be \"balanced\" or a table of weights by class, got 'even'; write { spam = 5.0, ham = 1.0 }",
        ),
    ],
)
def test_weights_of_classes_are_numbers_above_0(make_config, weights, said):
    with pytest.raises(ValidationError) as caught:
        make_config(class_weights=weights)
    [mistake] = caught.value.errors()
    assert mistake["loc"] == ("class_weights",)
    assert mistake["msg"].endswith(said)


def test_weights_are_written_and_read_whatever_classes_are_called(make_config, tmp_path):
    path = tmp_path / "fit.toml"
    config = make_config(
        class_weights={"not spam": 1.0, "low": 2.0, 'a "b".c': 3.0, "é": 4, "7": 5.0}, loss="focal"
    )
    path.write_text(as_toml(config))
    assert load_config(path) == config


def test_a_configuration_without_the_newer_settings_is_written_as_before(make_config):
    written = make_config().model_dump(mode="json")
    assert not {"loss", "focal_gamma"} & set(written)
    assert make_config(loss="focal", focal_gamma=3.0).model_dump()["focal_gamma"] == 3.0
