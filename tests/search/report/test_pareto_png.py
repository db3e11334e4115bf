import os
import tempfile

import pytest

from search.report.pareto_png import keep_fonts


@pytest.fixture
def home(monkeypatch):
    """A function: where the home folder is, with no other variables that say where settings are."""

    def home(place):
        for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, "")  # so that it is as it was afterwards
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(place))

    return home


def test_fonts_are_listed_in_the_cache_where_the_home_folder_cannot_be_written(home, monkeypatch, tmp_path):
    home("/proc/none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    keep_fonts()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / f"frostline-{os.getuid()}" / "matplotlib")


def test_fonts_are_listed_where_matplotlib_would_if_it_can(home, tmp_path):
    home(tmp_path)
    keep_fonts()
    assert "MPLCONFIGDIR" not in os.environ


def test_fonts_are_listed_where_the_user_says(home, monkeypatch):
    home("/proc/none")
    monkeypatch.setenv("MPLCONFIGDIR", "/somewhere")
    keep_fonts()
    assert os.environ["MPLCONFIGDIR"] == "/somewhere"
