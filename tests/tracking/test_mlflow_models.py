"""Models in a real registry: logged with their run, registered once, and read back."""

import signal
from pathlib import Path

import pytest
import yaml
from tracking.helpers import FORKS, PARAMS, find_run, publish_and_die_after, publish_at_once, write_workspace
from tracking.servers import Proxy, Server

from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.mlflow_store import Store, open_models
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import log_training

WEIGHTS = "artifacts/generator.safetensors"


def train(root: Path, workspace: Path) -> RunLog:
    run_log = RunLog.create(root, "training")
    log_training(PIPELINE, run_log, workspace, PARAMS)
    run_log.finish("FINISHED")
    return run_log


def versions(store: Store) -> list:
    return store.client.search_model_versions("name = 'dcgan'")


def logged_models(store: Store) -> list:
    return list(store.client.search_logged_models([store.experiment_id]))


def check_registered_once(store: Store, run_log: RunLog, model: Path) -> None:
    """The run's model is the only one, whole, and the run links to it."""
    (version,) = versions(store)
    (logged,) = logged_models(store)
    run = find_run(store, run_log)
    assert version.tags["model.sha256"] == logged.tags["model.sha256"] == sha256(model)
    assert version.tags["model.id"] == logged.model_id and logged.status == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    folder = Path(version.source.removeprefix("file://"))
    assert (folder / WEIGHTS).read_bytes() == model.read_bytes()
    described = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]
    assert (folder / described["model_code_path"]).is_file() and (folder / "code/dcgan/gan/networks.py").is_file()
    assert "torch==" in (folder / "requirements.txt").read_text()


def test_a_training_registers_its_model_once(root, store, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    run_log = train(root, workspace)
    for _ in range(2):
        store.publish(run_log)
        for sent in run_log.folder.glob("sent-*.json"):
            sent.unlink()  # everything is sent again
    check_registered_once(store, run_log, workspace / PIPELINE.model)
    (version,) = versions(store)
    (logged,) = logged_models(store)
    assert version.run_id == logged.source_run_id == find_run(store, run_log).info.run_id
    assert logged.params["train.seed"] == "1"


def test_the_same_weights_of_another_training_are_not_registered_again(root, store, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    first, second = (train(root, workspace) for _ in range(2))
    store.publish(first)
    store.publish(second)
    check_registered_once(store, first, workspace / PIPELINE.model)
    check_registered_once(store, second, workspace / PIPELINE.model)
    store.publish(train(root, write_workspace(tmp_path / "other", model=b"other weights")))
    assert sorted(int(version.version) for version in versions(store)) == [1, 2]


def test_a_model_without_labels_is_logged_but_not_served(root, store, tmp_path):
    run_log = RunLog.create(root, "plain")
    plain = PARAMS | {"model": {"conditional": False}}
    log_training(PIPELINE, run_log, write_workspace(tmp_path / "w"), plain)
    store.publish(run_log)
    assert versions(store) == logged_models(store) == []
    with pytest.raises(UserError, match="cannot be served; train a conditional one"):
        store.register(run_log, "dcgan")


CALLS = ("create_logged_model", "log_model_artifacts", "finalize_logged_model", "create_model_version", "log_outputs")


@pytest.mark.parametrize("call", CALLS)
def test_a_sender_that_is_killed_leaves_one_model(root, store, tmp_path, call):
    workspace = write_workspace(tmp_path / "w")
    run_log = train(root, workspace)
    sender = FORKS.Process(target=publish_and_die_after, args=(root, run_log.id, store.uri, call))
    sender.start()
    sender.join(120)
    assert sender.exitcode == -signal.SIGKILL
    store.publish(run_log)
    check_registered_once(store, run_log, workspace / PIPELINE.model)


def test_clones_that_publish_at_once_register_one_model(root, store, tmp_path):
    clones = [write_workspace(tmp_path / name) for name in ("one", "two")]
    publish_at_once(clones, store.uri)
    (version,) = versions(store)
    (logged,) = logged_models(store)
    assert version.tags["model.id"] == logged.model_id and logged.status == "READY"


def test_twins_of_a_version_are_removed_by_whoever_looks_next(root, store, tmp_path):
    """As two clones leave them that were killed right after both registered the model."""
    workspace = write_workspace(tmp_path / "w")
    run_log = train(root, workspace)
    store.publish(run_log)
    (first,) = versions(store)
    twin = store.client.create_logged_model(store.experiment_id, "dcgan", tags={"model.sha256": "x"})
    tags = first.tags | {"model.id": twin.model_id}
    store.client.create_model_version("dcgan", twin.artifact_location, tags=tags, await_creation_for=0)
    assert store.register(run_log, "dcgan").version == first.version
    check_registered_once(store, run_log, workspace / PIPELINE.model)


def test_the_weights_of_a_registered_model_are_fetched_once_and_verified(root, store, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    version = store.register(train(root, workspace), "dcgan")
    assert store.models.promote(version, "champion") is None
    models = open_models(store.uri)
    for uri in ("models:/dcgan@champion", "models:/dcgan/1"):
        path = models.download(uri, WEIGHTS, tmp_path / "cache")
        assert path.read_bytes() == b"weights" and path.parent == tmp_path / "cache"
    path.write_bytes(b"damaged")
    assert models.download("models:/dcgan/1", WEIGHTS, tmp_path / "cache").read_bytes() == b"weights"
    stored = Path(version.source.removeprefix("file://")) / WEIGHTS
    stored.write_bytes(b"replaced")
    with pytest.raises(UserError, match="they were replaced"):
        models.download("models:/dcgan/1", WEIGHTS, tmp_path / "elsewhere")


def test_a_model_that_is_not_there_is_named(root, store, tmp_path):
    store.publish(train(root, write_workspace(tmp_path / "w")))
    store.client.create_registered_model("foreign")
    store.client.create_model_version("foreign", (tmp_path / "w").as_uri(), await_creation_for=0)
    for uri, message in (
        ("models:/dcgan@loser", "there is no models:/dcgan@loser in sqlite:.*`dcgan promote` registers"),
        ("models:/dcgan/2", "there is no models:/dcgan/2"),
        ("models:/other@champion", "there is no models:/other@champion"),
        ("models:/foreign/1", "was not registered by this project"),
        ("dcgan@champion", "'dcgan@champion' is not a model; allowed are models:/NAME@ALIAS and models:/NAME/VERSION"),
        ("models:/dcgan", "is not a model"),
        ("models:/../x/1", "is not a model"),
    ):
        with pytest.raises(UserError, match=message):
            open_models(store.uri).download(uri, WEIGHTS, tmp_path / "cache")


@pytest.mark.extended
def test_a_registry_that_refuses_does_not_hold_up_the_run(root, tmp_path, capsys):
    """The user may log runs, but not register models: whoever may does it later."""
    workspace = write_workspace(tmp_path / "w")
    run_log = train(root, workspace)
    server = Server(tmp_path)
    try:
        server.start()
        with Proxy(server.port, lambda path: None if path.endswith("model-versions/create") else 0) as proxy:
            refusing = Store(proxy.uri)
            assert refusing.publish(run_log) == run_log.size()
            assert "does not register the model of run log" in capsys.readouterr().err
            assert find_run(refusing, run_log).info.status == "FINISHED" and versions(refusing) == []
        store = Store(server.uri)
        for _ in range(2):
            version = store.register(run_log, "dcgan")
        assert len(versions(store)) == len(logged_models(store)) == 1
        store.models.promote(version, "champion")
        fetched = open_models(server.uri).download("models:/dcgan@champion", WEIGHTS, tmp_path / "cache")
        assert fetched.read_bytes() == (workspace / PIPELINE.model).read_bytes()
    finally:
        server.kill()


def test_reading_creates_no_store(tmp_path):
    with pytest.raises(UserError, match="there is no tracking store"):
        open_models(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []
