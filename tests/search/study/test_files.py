"""Which TOML file --study means."""

from importlib.resources import files
from pathlib import Path

import pytest

from search.study.files import find_study, packaged_studies
from trainers.errors import InputError

ROOT = Path(__file__).parents[3]


def test_studies_that_come_along_are_those_of_the_folder_studies():
    names = {"imdb", "imdb-deep", "quick", "rotten_tomatoes"}
    assert names <= set(packaged_studies())
    for name in names:
        assert packaged_studies()[name].read_bytes() == (ROOT / "studies" / f"{name}.toml").read_bytes()
    assert str(files("search")) in str(packaged_studies()["quick"])


def test_a_study_that_comes_along_is_copied_where_it_is_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_study("quick", create=True) == Path("studies/quick.toml")
    assert Path("studies/quick.toml").read_bytes() == (ROOT / "studies" / "quick.toml").read_bytes()


def test_a_study_of_ones_own_is_not_overwritten_by_one_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("studies").mkdir()
    Path("studies/quick.toml").write_text("mine")
    find_study("quick", create=True)
    assert Path("studies/quick.toml").read_text() == "mine"


def test_a_study_that_comes_along_and_was_never_searched_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find_study("quick")
    assert str(caught.value) == "study 'quick' has no trials yet; run: python -m search.run --study quick"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_copy_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("studies").touch()
    with pytest.raises(InputError, match=r"^studies/quick\.toml must be writable, got: "):
        find_study("quick", create=True)


def test_study_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "toy.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_study("toy") == Path("studies/toy.toml")
    assert find_study("studies/toy.toml") == Path("studies/toy.toml")


def test_study_not_found_is_met_with_the_nearest_name(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.toml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find_study("quik")
    assert str(caught.value) == (
        "no study 'quik' in studies/; did you mean 'quick'?; give one of imdb, imdb-deep, mine, quick, rotten_tomatoes, "
        "or the path of a TOML file"
    )


def test_missing_study_file_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"no study file .*absent\.toml; give an existing TOML file or a name"
    ):
        find_study(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize("study", ["../imdb", "/etc/passwd", "studies/imdb"])
def test_study_name_cannot_leave_the_folder_of_studies(study):
    with pytest.raises(InputError) as caught:
        find_study(study)
    assert str(caught.value).startswith("--study: a study's name has 1 to 64 characters")
    assert str(caught.value).endswith("or give the path of a TOML file")


@pytest.mark.parametrize("study", ["x" * 5000 + ".toml", "a\0b.toml", "../" * 2000 + "x.toml"])
def test_study_path_that_no_file_can_have_is_named(study):
    with pytest.raises(InputError, match="give an existing TOML file or a name from studies/"):
        find_study(study)


@pytest.mark.parametrize("study", ["x" * 5000, "a\0b", "a\nb", "", "."])
def test_study_name_that_no_study_can_have_is_refused(study):
    with pytest.raises(InputError, match="--study: a study's name has 1 to 64 characters"):
        find_study(study)
