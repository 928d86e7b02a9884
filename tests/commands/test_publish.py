"""`dcgan publish`: run logs and restored outputs reach the store once, from whichever clone."""

import argparse
import json
import socket
import threading
from pathlib import Path

import pytest
from tracking.helpers import IMAGE_STEPS, PARAMS, find_run, free_port, history, write_workspace

from dcgan.commands import clean, publish
from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import log_evaluation, log_training, run_log_for_evaluation

EVERYTHING = argparse.Namespace(workspace=False)


def test_what_dvc_restored_is_published_once_from_several_clones(root, store, tmp_path, monkeypatch, capsys):
    """The first clone trained; the second and the third only have the files."""
    first = write_workspace(tmp_path / "first")
    training = RunLog.create(root, "training")
    log_training(PIPELINE, training, first, PARAMS)
    training.finish("FINISHED")
    log_evaluation(PIPELINE, root, first, PARAMS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.chdir(first)
    assert publish.run(EVERYTHING) == 0
    from_first = find_run(store, training)
    for clone in ("second", "third"):
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / clone))
        monkeypatch.chdir(write_workspace(tmp_path / clone))
        for _ in range(2):
            assert publish.run(EVERYTHING) == 0
    assert "1 run log(s), 0 of them with something new" in capsys.readouterr().out.splitlines()[-1]
    (run,) = store.runs.search("")
    assert repr(run.data.to_dictionary()) == repr(from_first.data.to_dictionary())  # as text, because of a NaN
    assert [step for step, *_ in history(store, run, "train/loss_g")] == [64, 128]
    assert store.images(run.info.run_id) == {("image", "progress/percent", step) for step in IMAGE_STEPS}


def test_a_workspace_without_a_run_log_gets_one_and_repeating_adds_nothing(root, store, tmp_path, monkeypatch):
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    for _ in range(2):
        assert publish.run(EVERYTHING) == 0
    (run_log,) = RunLog.all(root)
    run = find_run(store, run_log)
    assert run.data.metrics["eval/details/fid"] == 1.5 and run.data.params["train.seed"] == "1"
    assert run.data.tags["model.sha256"] == sha256("models/generator.safetensors")
    assert run.info.status == "FINISHED"
    assert store.images(run.info.run_id) == {("image", "progress/percent", step) for step in IMAGE_STEPS}
    assert run_log_for_evaluation(PIPELINE, root, Path.cwd(), PARAMS).id == run_log.id


def test_results_that_dvc_took_from_its_cache_are_published_alone(root, store, tmp_path, monkeypatch, capsys):
    """As `make repro` does: without what was made for other stores."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another")
    RunLog.create(root, "made for another store")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    assert publish.run(argparse.Namespace(workspace=True)) == 0
    (run,) = store.runs.search("")
    assert run.data.tags["model.sha256"] == sha256("models/generator.safetensors")
    assert "1 run log(s), 1 of them with something new" in capsys.readouterr().out


def test_a_model_of_unknown_origin_fails_but_run_logs_are_sent(root, store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    Path("models/generator.safetensors").write_bytes(b"from elsewhere")
    run_log = RunLog.create(root, "another training")
    assert publish.run(EVERYTHING) == UserError.exit_code
    assert "is not the one in dvc.lock" in capsys.readouterr().err
    assert find_run(store, run_log).info.run_name == "another training"


def test_a_store_that_is_down_is_one_line_without_the_password(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=r"store http://127.* \(connection refused\)") as caught:
        publish.run(EVERYTHING)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_run_logs_are_reported_and_the_others_sent(root, store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    damaged, unsendable, whole = (RunLog.create(root, name) for name in ("damaged", "unsendable", "whole"))
    (damaged.folder / "events.jsonl").write_text('{"event": "metrics"}\n')
    with open(unsendable.folder / "events.jsonl", "a") as stream:
        stream.write('{"event": "file", "folder": "", "file": "files/gone"}\n')
    assert publish.run(EVERYTHING) == UserError.exit_code
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 2
    assert f"{damaged.id}/events.jsonl is damaged before byte 21 or comes from another version" in printed.err
    assert f"{unsendable.id}/files/gone is missing or unreadable" in printed.err
    assert "3 run log(s), 2 of them with something new" in printed.out  # with the restored one
    assert find_run(store, whole).info.run_name == "whole"
    (damaged.folder / "events.jsonl").unlink()
    assert publish.run(EVERYTHING) == UserError.exit_code  # the other one is a failure of its own
    assert f"{unsendable.id}/files/gone" in capsys.readouterr().err


def test_children_of_a_run_log_moved_away_do_not_stop_publishing(root, store, tmp_path, monkeypatch, capsys):
    """As the message about a damaged run log advises."""
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    parent = RunLog.create(root, "training")
    child = RunLog.create(root, "child", parent.id)
    (parent.folder / "events.jsonl").write_text("damaged\n")
    assert publish.run(EVERYTHING) == UserError.exit_code
    parent.folder.rename(root / "moved away")
    for _ in range(2):
        assert publish.run(EVERYTHING) == 0
    assert capsys.readouterr().err.count("\n") == 2  # damaged, and sent without it
    assert find_run(store, child).info.run_name == "child"


def test_a_garbage_store_is_one_line(tmp_path, root, monkeypatch, capfd):
    (root / "mlflow.db").write_bytes(b"garbage" * 999)
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    for command in (publish, clean):
        with pytest.raises(UserError, match=r"mlflow\.db is not a SQLite database or is damaged") as caught:
            command.run(argparse.Namespace(yes=False, workspace=False))
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_tls_failure_is_one_line_without_the_password(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=answer_without_tls, args=(plain,), daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:secret@127.0.0.1:{plain.getsockname()[1]}")
        with pytest.raises(UserError, match="wrong version number") as caught:
            publish.run(EVERYTHING)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def answer_without_tls(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")


def test_runs_and_local_state_of_former_versions_are_no_obstacle(root, store, tmp_path, monkeypatch):
    monkeypatch.chdir(write_workspace(tmp_path / "w"))
    former = root / ".dcgan/records/20250101-000000-abcdef/events.jsonl"
    former.parent.mkdir(parents=True)
    former.write_text(json.dumps({"event": "run", "name": "former", "time": 1, "parent": None}) + "\n")
    tags = {"dcgan.record": former.parent.name, "model.sha256": sha256("models/generator.safetensors")}
    former_run = store.client.create_run(store.experiment_id, tags=tags).info.run_id
    new = RunLog.create(root, "new")
    assert publish.run(EVERYTHING) == 0
    assert find_run(store, new).info.run_name == "new"
    of_model = store.runs.search(f"tags.`model.sha256` = '{tags['model.sha256']}'")
    assert [run.info.run_id for run in of_model] == [former_run]  # one run per training
    assert of_model[0].data.tags["dcgan.record"] == former.parent.name
    assert former.read_text().count("\n") == 1
