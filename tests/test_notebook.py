"""The notebook that comes along, in a kernel of its own, with the packaged encoder."""

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbclient is missing: pip install nbclient ipykernel")
nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install nbclient ipykernel")

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "studies" / "dataframe_to_predictions.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A function: a client of a notebook whose kernel works in an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    place = {"metadata": {"path": str(tmp_path)}}
    return lambda notebook: nbclient.NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources=place
    )


FEWER = {"* 110": "* 40", "trials=6": "trials=2", '"epochs": 3': '"epochs": 1'}
"""Exchanged in its cells, which a reader runs as they are: a third of the texts, trials and epochs."""


def with_fewer(notebook):
    for many, few in FEWER.items():
        [cell] = [cell for cell in notebook.cells if many in cell.source]
        cell.source = cell.source.replace(many, few)
    return notebook


def shown(cell):
    """What a cell shows at its end, as HTML."""
    return cell.outputs[-1].data["text/html"]


def test_the_notebook_is_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    assert len(notebook.cells) == 10
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client|traitlets|zmq")
def test_the_notebook_runs_from_a_data_frame_to_predictions(notebook, kernel, tmp_path):
    kernel(with_fewer(notebook)).execute()
    [result] = [cell for cell in notebook.cells if cell.source == "result"]
    assert "2 complete" in shown(result)
    assert "data:image/png;base64," in shown(result)
    assert "delivery" in shown(notebook.cells[-1])
    assert len(list((tmp_path / "studies").glob("*.toml"))) == 1
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.output_type == "stream"] == []
