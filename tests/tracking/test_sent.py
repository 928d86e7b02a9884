"""The notes of how much of a run log a store has."""

from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import Sent, read_sent, unsent_run_logs, write_sent


def test_a_line_cut_short_is_nothing_to_send(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    write_sent(run_log.folder, "http://store", Sent("r", run_log.size()))
    with open(run_log.folder / "events.jsonl", "a") as stream:
        stream.write('{"event": "poi')
    assert unsent_run_logs(tmp_path, "http://store") == []
    assert unsent_run_logs(tmp_path, "http://another") == [run_log.folder]
    assert read_sent(run_log.folder, "http://another") == Sent()


def test_the_password_in_an_address_is_not_stored(tmp_path):
    run_log = RunLog.create(tmp_path, "run")
    write_sent(run_log.folder, "http://me:secret@store", Sent("r", run_log.size()))
    assert read_sent(run_log.folder, "http://me:secret@store") == Sent("r", run_log.size())
    (sent,) = run_log.folder.glob("sent-*.json")
    assert "secret" not in sent.name + sent.read_text()
