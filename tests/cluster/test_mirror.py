"""Copies of a node's state, with real run logs."""

import shutil

import pytest

from dcgan.cluster.mirror import Copies, Mirror
from dcgan.tracking.run_log import RunLog


@pytest.fixture
def places(tmp_path):
    """The state of a node, and the driver's copies."""
    noted = []
    copies = Copies(tmp_path / "driver" / ".dcgan", tmp_path / "driver" / ".dcgan" / "sweep", noted.append)
    yield tmp_path / "node", Mirror(tmp_path / "node" / ".dcgan"), copies, noted
    copies.close()


def train(node, image, steps) -> RunLog:
    """A training that logs and saves checkpoints as the real one does: the two newest are kept."""
    run_log = RunLog.create(node, "training", run_log_id="id")
    folder = node / ".dcgan" / "runs" / "fingerprint"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "run_log").exists():
        (folder / "run_log").write_text("id")
    for step in steps:
        run_log.log_points({"train/loss_g": 1 / step}, step)
        run_log.log_image("progress", image, step)
        (folder / f"checkpoint-{step}").write_text(f"state {step}")
        for old in sorted(folder.glob("checkpoint-*"))[:-2]:
            old.unlink()
    return run_log


def test_a_second_node_goes_on_from_the_copies(places, tmp_path):
    node, mirror, copies, noted = places
    image = tmp_path / "image.png"
    image.write_bytes(b"png")
    train(node, image, [1, 2])
    copies.apply("sweep-1", mirror.changes())
    train(node, image, [3])
    (node / ".dcgan" / "runs" / "fingerprint" / "finished.json").write_text("{}")
    copies.apply("sweep-1", mirror.changes())
    train(node, image, [4])  # lost: not reported any more
    shutil.rmtree(node)

    start = copies.read("sweep-1")
    for name, content in start.files.items():
        path = node / ".dcgan" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = sorted(path.name for path in (node / ".dcgan/runs/fingerprint").iterdir())
    assert found == ["checkpoint-2", "checkpoint-3", "run_log"]  # "finished" holds for the lost workspace only
    run_log = RunLog.open(node, "id")
    assert run_log.logged("point") == {("point", "train/loss_g", step) for step in (1, 2, 3)}
    assert run_log.copied_file(next(e["file"] for e, _ in run_log.events() if e["event"] == "image")).exists()

    again = Mirror(node / ".dcgan")
    train(node, image, [4])
    copies.apply("sweep-1", again.changes())
    driver = RunLog.open(tmp_path / "driver", "id")
    assert [event["step"] for event, _ in driver.events() if event["event"] == "points"] == [1, 2, 3, 4]
    assert noted == [driver.folder] and driver.is_alive


def test_only_what_changed_is_reported_and_nothing_else_of_the_state(places, tmp_path):
    node, mirror, _, _ = places
    image = tmp_path / "image.png"
    image.write_bytes(b"png")
    train(node, image, [1])
    (node / ".dcgan" / "cache").mkdir()
    (node / ".dcgan" / "cache" / "data").write_bytes(b"large")
    first = mirror.changes()
    assert {name.rpartition("/")[2] for name in first.files} == {"events.jsonl", "image.png", "run_log", "checkpoint-1"}
    assert not mirror.changes().files
    train(node, image, [2, 3])
    second = mirror.changes()
    assert {name.rpartition("/")[2] for name in second.files} == {"events.jsonl", "checkpoint-2", "checkpoint-3"}
    assert [name.rpartition("/")[2] for name in second.removed] == ["checkpoint-1"]


def test_a_copied_checkpoint_is_never_ahead_of_the_copied_run_log(places, tmp_path):
    """A driver may be killed between any two files: they are written in the order in which they need each other."""
    node, mirror, _, _ = places
    image = tmp_path / "image.png"
    image.write_bytes(b"png")
    train(node, image, [1])
    order = [name.rpartition("/")[2] for name in mirror.changes().files]
    assert order.index("image.png") < order.index("events.jsonl") < order.index("checkpoint-1")


def test_the_checkpoints_of_a_finished_experiment_are_removed_and_its_run_log_kept(places, tmp_path):
    node, mirror, copies, _ = places
    image = tmp_path / "image.png"
    image.write_bytes(b"png")
    train(node, image, [1])
    copies.apply("sweep-1", mirror.changes())
    copies.forget("sweep-1")
    assert not copies.read("sweep-1").files
    assert RunLog.open(tmp_path / "driver", "id").logged("point")
