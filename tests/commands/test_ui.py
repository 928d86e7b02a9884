"""`dcgan ui`: the right store, the page that compares runs, and a port that can be used."""

import socket
import subprocess
import sys

import psutil
import pytest
from tracking.helpers import find_run, free_port

from dcgan.commands import ui
from dcgan.support.errors import UserError
from dcgan.tracking.mlflow_store import Store
from dcgan.tracking.run_log import RunLog


def test_a_port_in_use_is_refused_with_another_one_to_try():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="cannot be used") as caught:
        ui.check_port(taken.getsockname()[1])
    assert "dcgan ui --port" in str(caught.value)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_refused_with_the_allowed_range(port):
    with pytest.raises(UserError, match=f"--port is {port}; allowed are 1 to 65535"):
        ui.check_port(port)


def test_the_address_holds_no_password():
    page = ui.comparison_page("https://me:secret@example.org/", "7")
    assert page.startswith("https://example.org/#/experiments/7/runs?")


def test_it_serves_the_right_store_prints_the_page_and_ends_with_its_server(root, store, tmp_path):
    run_log = RunLog.create(root, "to be seen")
    store.publish(run_log)
    port = free_port()
    command = [sys.executable, "-m", "dcgan.cli", "ui", "--port", str(port)]
    with open(tmp_path / "log", "w") as log:
        page = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = next(line for line in page.stdout if "http" in line)
        expected = f"http://127.0.0.1:{port}/#/experiments/{store.experiment_id}/runs"
        query = "workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey=comparison"
        assert f"{expected}?{query}" in line
        assert "mlflow.sharedViewState.comparison" in store.client.get_experiment(store.experiment_id).tags
        assert find_run(Store(f"http://127.0.0.1:{port}"), run_log).info.run_name == "to be seen"
        processes = [psutil.Process(page.pid), *psutil.Process(page.pid).children(recursive=True)]
        commands = [" ".join(process.cmdline()) for process in processes]
        assert len(commands) > 1 and not any("mlflow.db" in command for command in commands)  # may hold a password
    finally:
        page.terminate()  # as a script would; the server must not outlive it
        page.wait(30)
    assert page.returncode == 0 and not ui.answers(port)
    assert not (tmp_path / "mlflow.db").exists()
