"""The notebook, run from top to bottom by a Jupyter kernel, and what it shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import ROOT

TOUR = ROOT / "notebooks" / "tour.ipynb"
CELLS = json.loads(TOUR.read_text())["cells"]


def test_it_is_committed_without_outputs():
    cells = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


def test_only_the_cell_that_sets_up_colab_is_skipped():
    assert [cell["id"] for cell in CELLS if "skip-execution" in cell["metadata"].get("tags", [])] == ["colab"]


def test_its_pictures_and_links_exist():
    text = "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    targets = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    assert len(targets) > 5
    assert [link for link in targets if not (TOUR.parent / link).exists()] == []


@pytest.fixture
def clone(tmp_path, mnist_dir) -> Path:
    """A folder with what the notebook reads, so that whatever it writes is not written into this checkout."""
    for name in ("dvc.yaml", "params.yaml", "models", "metrics"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(mnist_dir)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.mark.extended
def test_every_cell_runs_and_shows_what_the_text_says(clone):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(TOUR, as_version=4)
    folder = str(clone / "notebooks")
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    shown = {cell["id"]: list(results(cell)) for cell in notebook.cells if cell["cell_type"] == "code"}
    pictures = {name: sum("image/png" in result for result in found) for name, found in shown.items()}
    assert {name: n for name, n in pictures.items() if n} == {
        "real": 1, "draw": 1, "layers-picture": 1, "walk": 1, "train": 1, "progress": 1, "misread": 1, "second-run": 1,
        "compare-curves": 2,
    }  # fmt: skip
    _, ready_made, trained, repeated = columns(shown["scores-table"])
    assert ready_made["label accuracy"] > 0.99 and 1 < ready_made["relative FID"] < 3
    assert trained["label accuracy"] > 0.5, "it has learned something"
    assert trained["relative FID"] > ready_made["relative FID"]
    assert repeated["label accuracy"] > 0.95 and repeated["recall"] < 0.01 and repeated["relative FID"] > 50
    runs = shown["mlflow"][0]["text/plain"]
    assert "as in params.yaml" in runs and "without penalty" in runs and "params.r1_gamma" in runs
    assert sorted(path.name for path in clone.iterdir()) == [
        "data", "dvc.yaml", "metrics", "models", "notebooks", "params.yaml"
    ]  # fmt: skip


def results(cell: dict) -> Iterator[dict]:
    """What a cell displays: media type -> content."""
    return (output["data"] for output in cell["outputs"] if "data" in output)


def columns(results: list[dict]) -> list[dict[str, float]]:
    """The columns of scores of a table, score -> value as a number."""
    table = re.findall(r"<tr[^>]*>(.*?)</tr>", results[0]["text/html"], re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table[1:]]

    def number(text: str) -> float:
        return float(text.rstrip("%")) / (100 if text.endswith("%") else 1)

    return [{row[0]: number(row[column]) for row in rows} for column in range(1, len(rows[0]) - 1)]
