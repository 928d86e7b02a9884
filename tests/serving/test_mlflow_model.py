"""The generator as MLflow serves it, in this process: its files, its answers, its refusals."""

import ast
import base64
import io
import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from clones import ROOT
from generators import make_generator
from mlflow.exceptions import MlflowException
from PIL import Image

from dcgan.cli import main
from dcgan.gan.model_files import save_network
from dcgan.serving.description import SERVED
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.mlflow_models import write_model
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import log_served_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A workspace with a generator, and beside it its folder as MLflow serves it."""
    workspace = tmp_path_factory.mktemp("workspace")
    save_network(workspace / PIPELINE.model, make_generator())
    run_log = RunLog.create(workspace, "training")
    run_log.log_params({"model": {"conditional": True}})
    log_served_model(PIPELINE, run_log, workspace)
    write_model(workspace / "model", run_log, run_log.model("dcgan"))
    return workspace


@pytest.fixture(scope="module")
def model(folder):
    return mlflow.pyfunc.load_model(str(folder / "model"))


def test_the_picture_is_the_one_that_dcgan_draws(model, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit):
        main(["draw", "2026", "--seed", "7", "--count", "3", "-o", "year.png"])
    (answer,) = model.predict([{"digits": "2026", "seed": 7, "count": 3}])
    assert base64.b64decode(answer["png"]) == Path("year.png").read_bytes()


def test_rows_are_the_gray_levels_of_the_picture(model):
    rows, picture = model.predict(
        [{"digits": "40", "count": 2, "format": "idx"}, {"digits": "40", "count": 2, "format": "png"}]
    )
    images = np.array(rows["images"], dtype=np.uint8).reshape(-1, 28, 28)
    assert rows["labels"] == [4, 0, 4, 0] and len(images) == 4
    assert json.loads(json.dumps(rows)) == rows
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["png"]))))[::2, ::2]
    assert np.array_equal(drawn[:28, :22], images[0, :, 3:-3]) and np.array_equal(drawn[28:, 22:], images[3, :, 3:-3])


def test_defaults_are_those_of_dcgan_draw(model):
    short, null, full = (
        model.predict([request])
        for request in (
            {"digits": "1"},
            {"digits": "1", "seed": None, "count": None, "format": None},
            {"digits": "1", "seed": 0, "count": 1, "format": "png"},
        )
    )
    assert short == null == full


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([{"digits": "20x6"}], "digits is '20x6'; allowed is a text of 1 to 1,000 digits 0 to 9"),
        ([{"digits": "1", "sede": 7}], "'sede' is not a field of a request"),
        ([{"digits": "1"}, {"digits": "1", "seed": -1}], "seed is -1"),
        ([{"digits": "1" * 600}, {"digits": "1" * 600}], "1,200 digits, over all requests of this call"),
        (["2026"], "dictionary"),
        ("2026", "list"),
        ({"digits": "2026"}, "list"),
    ],
)
def test_a_bad_request_is_the_client_s_mistake(model, requests, message):
    """MLflow answers this error code with status 400; any other exception with a traceback."""
    with pytest.raises(MlflowException, match=message.replace("(", r"\(")) as caught:
        model.predict(requests)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_fault_of_the_server_sends_no_traceback(model, monkeypatch, caplog):
    monkeypatch.setattr(model.unwrap_python_model(), "generator", None)
    with pytest.raises(MlflowException, match="server's log says why") as caught:
        model.predict([{"digits": "1"}])
    assert caught.value.get_http_status_code() == 500 and "stack_trace" not in caught.value.serialize_as_json()
    assert "AttributeError" in caplog.text


def test_the_files_are_those_that_mlflow_itself_would_write(folder, model, tmp_path):
    """`mlflow.pyfunc.save_model` runs the model's code to find out what the description here says."""
    mlflow.pyfunc.save_model(
        str(tmp_path / "saved"),
        python_model=str(SERVED.source / SERVED.entry),
        artifacts={"generator": str(folder / PIPELINE.model)},
        pip_requirements=["mlflow"],
        input_example=SERVED.example,
    )
    ours, theirs = (yaml.safe_load((path / "MLmodel").read_text()) for path in (folder / "model", tmp_path / "saved"))
    flavors = [content.pop("flavors")["python_function"] for content in (ours, theirs)]
    for content in (ours, theirs):
        for key in ("model_uuid", "utc_time_created", "model_size_bytes"):
            content.pop(key, None)
    assert ours == theirs
    for flavor in flavors:
        assert Path(flavor.pop("model_code_path")).name == "mlflow_model.py"
        assert flavor.pop("artifacts")["generator"]["path"] == "artifacts/generator.safetensors"
    assert flavors[0].pop("code") == "code" and flavors[1].pop("code") is None  # it was not given any
    assert flavors[1].pop("cloudpickle_version")  # of what is not pickled
    assert flavors[0] == flavors[1]
    for name in ("input_example.json", "serving_input_example.json"):
        ours, theirs = (json.loads((path / name).read_text()) for path in (folder / "model", tmp_path / "saved"))
        assert ours == theirs, name
    assert model.input_example == SERVED.example
    assert not list((folder / "model").rglob("*.pkl"))


def test_the_code_that_goes_with_a_model_is_what_it_imports():
    found: set[str] = set()
    _add_imports("dcgan/serving/mlflow_model.py", found)
    assert set(SERVED.code) == found - {"dcgan/serving/mlflow_model.py"}


def _add_imports(path: str, found: set[str]) -> None:
    """The module and what it imports of this package, with the packages that they are in."""
    if path in found:
        return
    found |= {path} | {str(folder / "__init__.py") for folder in list(Path(path).parents)[:-1]}
    for node in ast.walk(ast.parse((ROOT / "src" / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dcgan."):
            _add_imports(f"{node.module.replace('.', '/')}.py", found)
        assert not (isinstance(node, ast.Import) and any(name.name.startswith("dcgan") for name in node.names))
