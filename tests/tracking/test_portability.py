"""The tracking package serves another project: it knows nothing of this one but the names in one module."""

import ast
import hashlib
import json
import sys
from pathlib import Path

import pytest
from tracking.helpers import find_run, history, write_image

from dcgan.tracking.pipeline import TrackedPipeline, TrackedStage
from dcgan.tracking.restored import log_restored
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import log_evaluation, log_training

SOURCE = Path(__file__).parents[2] / "src/dcgan/tracking"

# A project that trains a classifier of flowers: no sampling, other folders, sections, stages and file names
FLOWERS = TrackedPipeline(
    train=TrackedStage("fit", sections=("network", "optimizer"), files=("out/*.onnx",)),
    sample=None,
    evaluate=TrackedStage("test", sections=("test",), files=("results/*.json",)),
    model=Path("out/flowers.onnx"),
    curves=Path("out/history.csv"),
    curves_step="epoch",
    curves_ignored=("seconds",),
    compared_curves=("loss",),
    compared_params=("network.depth",),
    progress=Path("out/filters"),
    dataset=Path("flowers/train.zip"),
    dataset_name="Flowers",
    served=None,
    scores=Path("results/accuracy.json"),
    headline=("top1",),
    scores_ignored=("chance",),
    protocol_tags=(),
)
FLOWER_PARAMS = {"network": {"depth": 3}, "optimizer": {"name": "sgd"}, "test": {"crop": 224}, "page": {"color": "red"}}


@pytest.fixture
def flowers(tmp_path) -> Path:
    folder = tmp_path / "flowers"
    files = {
        "out/flowers.onnx": b"weights",
        "out/history.csv": b"epoch,seconds,loss\n1,3.5,0.9\n2,3.4,0.4\n",
        "flowers/train.zip": b"images",
        "results/accuracy.json": b'{"top1": 0.75, "chance": 0.01}',
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_image(folder / "out/filters/filters-2.png", 9)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    model, scores = ({"path": name, "md5": md5[name]} for name in ("out/flowers.onnx", "results/accuracy.json"))
    network, optimizer, test = (FLOWER_PARAMS[section] for section in ("network", "optimizer", "test"))
    stages = {
        "fit": {"params": {"params.yaml": {"network": network, "optimizer": optimizer}}, "outs": [model]},
        "test": {"params": {"params.yaml": {"test": test}}, "deps": [model], "outs": [scores]},
    }
    (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    return folder


def check_flowers_run(store, run_log: RunLog) -> None:
    run = find_run(store, run_log)
    assert run.data.params == {"network.depth": "3", "optimizer.name": "sgd", "test.crop": "224"}
    assert set(run.data.metrics) == {"train/loss", "eval/top1"}
    assert [point[:2] for point in history(store, run, "train/loss")] == [(1, 0.9), (2, 0.4)]
    assert store.images(run.info.run_id) == {("image", "progress/percent", 100)}
    assert {item.path for item in store.client.list_artifacts(run.info.run_id)} == {"images", "out", "results"}
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["Flowers"]


def test_stages_of_another_project_are_logged(root, store, flowers):
    run_log = RunLog.create(root, "flowers")
    log_training(FLOWERS, run_log, flowers, FLOWER_PARAMS)
    run_log.finish("FINISHED")
    assert log_evaluation(FLOWERS, root, flowers, FLOWER_PARAMS).id == run_log.id
    cropped = {**FLOWER_PARAMS, "test": {"crop": 96}}
    assert log_evaluation(FLOWERS, root, flowers, cropped).parent == run_log.id
    store.publish(run_log)
    check_flowers_run(store, run_log)


def test_outputs_of_another_project_that_dvc_restored_are_logged(root, store, flowers):
    run_log = log_restored(FLOWERS, root, flowers)
    store.publish(run_log)
    check_flowers_run(store, run_log)


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return modules | {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.name)
def test_a_module_imports_nothing_of_this_project_but_support(path):
    known = ("dcgan.support", "dcgan.tracking")
    other = {name.partition(".")[0] for name in imported(path) if not name.startswith(known)}
    assert other <= sys.stdlib_module_names | {"mlflow", "sqlalchemy", "alembic", "PIL"}
