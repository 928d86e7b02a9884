"""The real `dvc repro` on real MNIST with a small budget, in a temporary clone."""

import json
import re
import sys
import time
from pathlib import Path

import pytest
from clones import ROOT, change_params, make_clone, results, run

from dcgan.scores import HEADLINE


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory, mnist_dir) -> tuple[Path, str]:
    """A clone in which `dvc repro` ran once and its results were committed, and what it printed."""
    folder = make_clone(tmp_path_factory.mktemp("pipeline"), mnist_dir)
    done = run(folder, "dvc", "repro")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "ran")
    return folder, done.stdout + done.stderr


def test_every_stage_ran_and_wrote_its_outputs(pipeline):
    folder, printed = pipeline
    assert re.findall(r"Running stage '(\w+)'", printed) == ["download", "train", "sample", "evaluate"]
    for name in (
        "models/generator.safetensors",
        "models/discriminator.safetensors",
        "models/generator.pt2",
        "metrics/curves.csv",
        "metrics/progress/images-000000000.png",
        "metrics/progress/images-000000640.png",
        "metrics/progress/images-000001280.png",
        "metrics/training/animation.gif",
        "metrics/training/networks.txt",
        "samples/images-idx3-ubyte",
        "samples/labels-idx1-ubyte",
        "samples/grid.png",
        "metrics/report.html",
    ):
        assert (folder / name).stat().st_size > 0, name


def test_git_gets_the_metrics_and_dvc_everything_else_that_the_stages_write(pipeline):
    folder, _ = pipeline
    committed = set(run(folder, "git", "diff", "--name-only", "HEAD~1").stdout.split())
    assert {name for name in committed if not name.endswith(".gitignore")} == {
        "dvc.lock",
        "metrics/scores.json",
        "metrics/evaluate.json",
    }


def test_the_scores_are_plausible_and_come_with_their_protocol(pipeline):
    folder, _ = pipeline
    scores = json.loads((folder / "metrics/evaluate.json").read_text())
    assert scores["fid"] > scores["fid_real"] > 0
    assert scores["relative_fid"] > 1
    for name in ("precision", "recall", "coverage", "label_accuracy", "cas"):
        assert 0 <= scores[name] <= 1
    assert scores["protocol"]["sample_seed"] == 1000
    train = json.loads((folder / "metrics/train.json").read_text())
    assert train["images"] == 1280
    assert train["precision"] == "fp32"
    assert scores["training"]["images"] == 1280 and scores["training"]["generator_width"] == 4


def test_dvc_shows_the_headline_scores_and_nothing_else(pipeline):
    folder, _ = pipeline
    (shown,) = json.loads(run(folder, "dvc", "metrics", "show", "--json").stdout).values()
    scores = json.loads((folder / "metrics/evaluate.json").read_text())
    assert shown["data"] == {"metrics/scores.json": {"data": {key: scores[key] for key in HEADLINE}}}


def test_mlflow_has_one_run_with_everything(pipeline):
    folder, _ = pipeline
    (run_,) = runs_of(folder, "tags.`model.sha256` != ''")
    assert run_["status"] == "FINISHED"
    assert run_["params"]["train.images"] == "1280"
    assert run_["metrics"]["eval/relative_fid"] > 1
    names = {"train/loss_g", "train/acc_real", "train/variety", "eval/recall", "eval/details/kid_x1000"}
    assert names <= run_["metrics"].keys()
    assert {"git.commit", "version.torch", "precision", "device"} <= run_["tags"].keys()
    assert run_["points"] == 20  # a run of 20 steps has 20 log windows
    assert {"models", "samples", "metrics", "images"} <= set(run_["artifacts"])


def test_samples_are_a_data_set_that_torchvision_reads(pipeline, tmp_path):
    from torchvision.datasets import MNIST

    folder, _ = pipeline
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            (raw / f"{split}-{name}").write_bytes((folder / f"samples/{name}").read_bytes())
    data = MNIST(tmp_path, train=True)
    assert len(data) == 400
    assert data[0][0].size == (28, 28)
    assert sorted(set(data.targets.tolist())) == list(range(10))


def test_a_second_repro_runs_nothing(pipeline):
    folder, _ = pipeline
    printed = run(folder, "dvc", "repro").stdout
    assert "Running stage" not in printed
    assert "Data and pipelines are up to date." in printed.splitlines()  # the workflow looks for this line


@pytest.mark.extended
def test_a_forced_run_gives_the_same_bytes_and_a_clean_git_status(pipeline):
    folder, _ = pipeline
    before = results(folder)
    run(folder, "dvc", "repro", "-f", "--single-item", "train", "sample", "evaluate")
    after = results(folder)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []
    assert run(folder, "git", "status", "--porcelain").stdout == ""


def test_changing_the_sample_count_does_not_change_the_training(pipeline):
    folder, _ = pipeline
    done = run(folder, "dvc", "repro", "--dry", "-s", "train", check=False)
    assert "Running stage" not in done.stdout
    change_params(folder, {"sample": {"count": 500}})
    done = run(folder, "dvc", "repro", "--dry")
    run(folder, "git", "checkout", "-q", "params.yaml")
    assert "'train'" not in done.stdout.replace("Stage 'train' didn't change", "")
    assert "'sample'" in done.stdout


@pytest.mark.faults
def test_two_parallel_queued_experiments_run_the_code_that_was_queued(pipeline):
    folder, _ = pipeline
    for seed in (11, 12):
        run(folder, "dvc", "exp", "run", "--queue", "-n", f"seed-{seed}", "-S", f"train.seed={seed}")
    losses = folder / "src/dcgan/gan/losses.py"
    kept = losses.read_text()
    losses.write_text("raise RuntimeError('edited after queueing')\n")
    run(folder, "dvc", "queue", "start", "-j", "2")
    wait_for_experiments(folder, "seed-11", "seed-12")
    losses.write_text(kept)
    shown = run(folder, "dvc", "exp", "show", "--json").stdout
    runs = {run_["tags"]["dvc.exp_name"]: run_ for run_ in runs_of(folder, "tags.`dvc.exp_name` LIKE 'seed-%'")}
    assert len(runs) == 2
    for seed in (11, 12):
        assert f"seed-{seed}" in shown
        run_ = runs[f"seed-{seed}"]
        assert run_["status"] == "FINISHED"
        assert run_["params"]["train.seed"] == str(seed)
        assert run_["metrics"]["eval/relative_fid"] > 1
    table = run(folder, "dvc", "metrics", "diff", "HEAD", "seed-11").stdout
    assert "relative_fid" in table
    table = run(folder, "make", "-o", ".venv/ready", "experiments", COLUMNS="120").stdout
    assert all(found in table for found in ("relative_fid", "train.seed", "[seed-11]", "[seed-12]"))
    assert max(map(len, table.splitlines())) <= 120 and "…" not in table
    run(folder, "dvc", "plots", "diff", "HEAD", "seed-11", "-o", "plots")
    assert (folder / "plots/index.html").stat().st_size > 0


@pytest.mark.faults
def test_results_are_shared_and_the_workspace_reset_as_documented(pipeline, tmp_path):
    folder, _ = pipeline
    back, push, pull = (documented_commands(words) for words in ("git checkout", "dvc push", "dvc pull"))
    run(folder, "git", "clone", "-q", "--bare", ".", str(tmp_path / "origin"))
    for name in ("mine", "theirs"):
        run(tmp_path, "git", "clone", "-q", "origin", name)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    run(mine, "dvc", "cache", "dir", "--local", str(folder / ".dvc/cache"))
    run(mine, "dvc", "checkout")
    change_params(mine, {"sample": {"count": 1200}})
    run(mine, "dvc", "exp", "run")
    assert run(mine, "git", "status", "--porcelain").stdout
    for place, commands in ((mine, back), (mine, push), (theirs, pull)):
        run(place, "bash", "-ec", commands)
        assert run(place, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
        assert run(place, "git", "status", "--porcelain").stdout == ""
    assert results(theirs) == results(folder)


def documented_commands(words: str) -> str:
    """The block of commands in docs/comparing.md with these words."""
    blocks = re.findall(r"(?:^    .+\n)+", (ROOT / "docs/comparing.md").read_text(), re.MULTILINE)
    (block,) = (block for block in blocks if words in block)
    return block


def wait_for_experiments(folder: Path, *names: str) -> None:
    """Until DVC has saved queued experiments. It saves none that failed; asking it every second slows them down."""
    deadline = time.monotonic() + 180
    while not saved_experiments(folder).issuperset(names):
        assert time.monotonic() < deadline, run(folder, "dvc", "queue", "status").stdout
        time.sleep(0.2)


def saved_experiments(folder: Path) -> set[str]:
    refs = run(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    return {ref.rsplit("/", 1)[-1] for ref in refs}


READ_RUNS = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///mlflow.db")
experiment = client.get_experiment_by_name("dcgan")
found = []
for run in client.search_runs([experiment.experiment_id], sys.argv[1]):
    found.append({
        "status": run.info.status, "params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags,
        "points": len(client.get_metric_history(run.info.run_id, "train/loss_g")),
        "artifacts": [entry.path for entry in client.list_artifacts(run.info.run_id)],
    })
print(json.dumps(found))
"""


def runs_of(folder: Path, query: str) -> list[dict]:
    """Runs that match `query`, read with MLflow's client in a separate process."""
    return json.loads(run(folder, sys.executable, "-c", READ_RUNS, query).stdout.splitlines()[-1])
