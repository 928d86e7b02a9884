"""An attempt at an experiment in a process of its own, which is killed; another one goes on from what it reported."""

import hashlib
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from clones import ROOT, environment, run
from cluster.toys import TRAINER, add_remotes, make_toy, trained

from dcgan.cluster import references
from dcgan.cluster.engine import Finished
from dcgan.cluster.experiment import Origin
from dcgan.cluster.grid import Experiment
from dcgan.cluster.mirror import Changes, Copies
from dcgan.cluster.node import Report
from dcgan.tracking.run_log import RunLog

STEPS = 40  # 0.2 s each
NODE = """
import pickle, sys
from dcgan.cluster.node import attempt
for report in attempt(*pickle.load(sys.stdin.buffer)):
    pickle.dump(report, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


def start_node(folder, *arguments) -> subprocess.Popen:
    folder.mkdir()
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    variables = environment() | {"PYTHONPATH": path, "TOY_LOG": os.devnull, "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", NODE], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pickle.dump(arguments, process.stdin)
    process.stdin.close()
    return process


def reports(process: subprocess.Popen) -> Iterator[Report]:
    while process.stdout.peek(1):
        yield pickle.load(process.stdout)


def points(root) -> Counter:
    (run_log,) = RunLog.all(root)
    events = [event for event, _ in run_log.events() if event["event"] == "points"]
    return Counter((key, event["step"], value) for event in events for key, value in event["values"].items())


@pytest.mark.extended
def test_a_second_node_makes_the_same_bytes_and_logs_each_point_once(tmp_path, monkeypatch):
    folder = make_toy(tmp_path / "toy", TRAINER)
    bare = add_remotes(folder)
    commit = run(folder, "git", "rev-parse", "HEAD").stdout.strip()
    experiment = Experiment("sweep-1", "seed=7", ("train.seed=7", f"train.images={STEPS}"))
    work = (experiment, Origin(str(bare), commit, None), {"DCGAN_PUBLISH_EVERY_S": "never"})
    copies = Copies(folder / ".dcgan", folder / ".dcgan" / "sweep", lambda _: None)

    first = start_node(tmp_path / "first", *work, Changes({}), 0.5)
    for report in reports(first):
        copies.apply(experiment.name, report.changes)
        if any(name.endswith("checkpoint-000000010") for name in report.changes.files):
            break
    first.kill()
    first.wait()
    known = points(folder)
    assert 10 <= known.total() < STEPS

    second = start_node(tmp_path / "second", *work, copies.read(experiment.name), 0.5)
    for report in reports(second):
        copies.apply(experiment.name, report.changes)
    assert second.wait() == 0 and isinstance(report.event, Finished)
    monkeypatch.chdir(folder)
    assert references.finished(commit, str(bare)) == {}  # data first; the reference is the driver's to store
    made = references.store(report.event.bundle, commit, experiment.name, str(bare))
    assert references.finished(commit, str(bare)) == references.finished(commit, None) == {experiment.name: made}

    model, values = trained(7, STEPS)
    stages = yaml.safe_load(run(folder, "git", "show", f"{made}:dvc.lock").stdout)["stages"]
    md5 = next(out["md5"] for out in stages["toy"]["outs"] if out["path"] == "model")
    assert md5 == hashlib.md5(model.encode()).hexdigest()
    assert (folder.with_suffix(".data") / "files" / "md5" / md5[:2] / md5[2:]).read_text() == model
    expected = Counter(("train/loss_g", step, value) for step, value in enumerate(values, start=1))
    assert points(folder) == expected + Counter([("eval/relative_fid", 0, STEPS / 10)])
    assert known <= points(folder) and RunLog.all(folder)[0].status == "FINISHED"
    assert not list((tmp_path / "second").glob("dcgan-*/run-*"))
    copies.close()
