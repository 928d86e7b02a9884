"""The notes of how much of a run log a store has."""

import pytest
from tracking.helpers import find_run, history

from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import Sent, is_pending_anywhere, pending_run_logs, read_sent, unsent_run_logs, write_sent


def test_a_line_cut_short_is_nothing_to_send(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    write_sent(run_log.folder, "http://store", Sent("r", run_log.size()))
    with open(run_log.folder / "events.jsonl", "a") as stream:
        stream.write('{"event": "poi')
    assert unsent_run_logs(tmp_path, "http://store") == []
    assert unsent_run_logs(tmp_path, "http://another") == [run_log.folder]
    assert read_sent(run_log.folder, "http://another") == Sent()


def test_stages_send_to_a_store_only_what_was_begun_for_it(tmp_path, monkeypatch):
    """Whoever names another store does not want all older runs there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://first")
    older = RunLog.create(tmp_path, "older")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://second")
    newer = RunLog.create(tmp_path, "newer")
    assert pending_run_logs(tmp_path, "http://first") == [older.folder]
    assert pending_run_logs(tmp_path, "http://second") == [newer.folder]
    RunLog.create(tmp_path, "older", run_log_id=older.id)  # continued
    assert set(pending_run_logs(tmp_path, "http://second")) == {older.folder, newer.folder}
    write_sent(older.folder, "http://second", Sent("r", older.size()))
    assert pending_run_logs(tmp_path, "http://second") == [newer.folder]
    assert is_pending_anywhere(older.folder)  # the first store lacks it
    write_sent(older.folder, "http://first", Sent("r", older.size()))
    assert not is_pending_anywhere(older.folder)


def test_the_password_in_an_address_is_not_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@store")
    run_log = RunLog.create(tmp_path, "run")
    write_sent(run_log.folder, "http://me:secret@store", Sent("r", run_log.size()))
    assert read_sent(run_log.folder, "http://me:secret@store") == Sent("r", run_log.size())
    (sent,) = run_log.folder.glob("sent-*.json")
    assert "secret" not in sent.name + sent.read_text()


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b'{"run_id": "r", "si',
        b"null",
        b"[]",
        b"{}",
        b'{"run_id": 5, "size": 0}',
        b'{"run_id": "r", "size": "x"}',
        b'{"run_id": "r", "size": -1}',
        b'{"run_id": "r", "size": 3}',  # in the middle of a line
        b'{"run_id": "r", "size": 99999}',
        b'{"run_id": "r", "sent": 0}',  # of another version
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda note: note[:30],
)
def test_a_damaged_note_counts_as_none(tmp_path, monkeypatch, note):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://store")
    run_log = RunLog.create(tmp_path, "run")
    run_log.log_points({"a": 1.0}, 1)
    write_sent(run_log.folder, "http://store", Sent())
    (path,) = run_log.folder.glob("sent-*.json")
    path.write_bytes(note)
    assert read_sent(run_log.folder, "http://store") == Sent()
    assert pending_run_logs(tmp_path, "http://store") == [run_log.folder]


def test_a_damaged_note_is_written_again_by_the_next_send(root, store):
    run_log = RunLog.create(root, "run")
    run_log.log_points({"a": 1.0}, 1)
    store.publish(run_log)
    next(run_log.folder.glob("sent-*.json")).write_bytes(b"")
    assert store.publish(run_log) == run_log.size()
    assert read_sent(run_log.folder, store.uri).size == run_log.size()
    assert unsent_run_logs(root, store.uri) == []
    assert [point[:2] for point in history(store, find_run(store, run_log), "a")] == [(1, 1.0)]
