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


@pytest.mark.parametrize("start", ["random", "fitted"])
def test_only_a_probe_may_train_nothing(make_config, start):
    with pytest.raises(ValidationError, match=f'got 0 with head_start = "{start}"; raise it'):
        make_config(head_start=start, epochs=0)
    assert make_config(head_start="probe", head_width=0, epochs=0).epochs == 0
