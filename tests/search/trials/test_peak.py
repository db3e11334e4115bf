import json

import pytest

import search.trials.peak
from search.trials.peak import known_peak_flops, measure_peak_flops


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_peak_is_that_of_a_processor(monkeypatch, precision):
    monkeypatch.setattr(
        search.trials.peak, "PEAK_SIZE", 256
    )  # a large one takes minutes where bfloat16 is emulated
    assert 1e7 < measure_peak_flops(precision=precision, seconds=0.0) < 1e16


@pytest.fixture
def measured(monkeypatch):
    """A list of rates that are measured one after the other, and for how long."""
    rates, asked = [], []
    monkeypatch.setattr(search.trials.peak, "PEAK_SECONDS", 1.0)  # as it is outside the tests

    def measure(*, precision, seconds):
        asked.append((precision, seconds))
        return rates.pop(0)

    monkeypatch.setattr(search.trials.peak, "measure_peak_flops", measure)
    return rates, asked


def test_a_second_start_measures_a_tenth_as_long_and_keeps_the_better_rate(measured, tmp_path):
    rates, asked = measured
    rates += [5.0, 3.0, 7.0]
    assert [known_peak_flops(tmp_path, precision="float32") for _ in range(3)] == [5.0, 5.0, 7.0]
    assert asked == [("float32", 1.0), ("float32", 0.1), ("float32", 0.1)]


def test_each_precision_has_its_own_rate(measured, tmp_path):
    rates, _ = measured
    rates += [5.0, 9.0, 1.0]
    known_peak_flops(tmp_path, precision="float32")
    assert known_peak_flops(tmp_path, precision="bfloat16") == 9.0
    assert known_peak_flops(tmp_path, precision="float32") == 5.0


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_file_is_measured_anew(measured, tmp_path, content):
    rates, _ = measured
    rates += [5.0]
    (tmp_path / "peak.json").write_text(content)
    assert known_peak_flops(tmp_path, precision="float32") == 5.0
    assert list(json.loads((tmp_path / "peak.json").read_text()).values()) == [5.0]


def test_where_nothing_can_be_kept_it_is_measured(measured, tmp_path):
    rates, _ = measured
    rates += [5.0]
    (tmp_path / "file").write_text("")
    assert known_peak_flops(tmp_path / "file" / "cache", precision="float32") == 5.0
