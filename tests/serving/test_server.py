"""The model server as clients meet it: `mlflow models serve` of the registered champion, alone and behind nginx."""

import base64
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from generators import make_generator
from serving.servers import ask, post, proxied, served

from dcgan.cli import main
from dcgan.gan.model_files import save_network
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.mlflow_store import Store, open_models
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import log_served_model

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def registered(tmp_path_factory) -> tuple[Path, str]:
    """A workspace whose generator is the champion of a SQLite store, and the store's address."""
    root = tmp_path_factory.mktemp("registered")
    save_network(root / PIPELINE.model, make_generator())
    run_log = RunLog.create(root, "training")
    run_log.log_params({"model": {"conditional": True}})
    log_served_model(PIPELINE, run_log, root)
    store = Store(f"sqlite:///{root}/mlflow.db")
    store.models.promote(store.register(run_log, "dcgan"), "champion")
    return root, store.uri


@pytest.fixture(scope="module")
def server(registered):
    with served("models:/dcgan@champion", registered[1], registered[0]) as port:
        yield port


@pytest.fixture(scope="module")
def proxy(server, tmp_path_factory):
    assert shutil.which("nginx"), "nginx is not installed: apt install nginx"
    with proxied(server, tmp_path_factory.mktemp("nginx")) as port:
        yield port


def test_the_champion_answers_with_the_digits_that_dcgan_draws(server, registered, monkeypatch):
    monkeypatch.chdir(registered[0])
    with pytest.raises(SystemExit):
        main(["draw", "2026", "--seed", "7", "-o", "year.png"])
    answer = ask(server, {"digits": "2026", "seed": 7}, {"digits": "7", "format": "idx"})
    assert answer.status == 200
    picture, rows = answer.predictions
    assert base64.b64decode(picture["png"]) == Path("year.png").read_bytes()
    assert rows["labels"] == [7] and len(rows["images"][0]) == 784


def test_a_model_runs_on_the_code_that_it_was_registered_with(registered, tmp_path):
    """Not on that of another checkout, which `dcgan` here is."""
    script = "import sys, mlflow; mlflow.pyfunc.load_model(sys.argv[1]); import dcgan; print(dcgan.__file__)"
    location = open_models(registered[1]).client.get_model_version_download_uri("dcgan", "1")
    command = [sys.executable, "-c", script, location]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(location.removeprefix("file://"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"digits": "20x6"}, "digits is '20x6'; allowed is a text of 1 to 1,000 digits"),
        ({"digits": "1" * 10_000}, "allowed is a text of 1 to 1,000 digits 0 to 9"),
        ({"digits": "1", "count": 10_000}, "count is 10000; allowed is a whole number from 1 to 1,000"),
        ({"digits": "11", "count": 1000}, "2,000 digits, over all requests of this call; allowed are up to 1,000"),
        ({"digits": "1", "seed": -1}, "seed is -1; allowed is a whole number from 0 to"),
        ({"digits": "1", "seed": "7"}, "seed is '7'; allowed is a whole number"),
        ({"digits": "1", "format": "jpg"}, "format is 'jpg'; allowed is 'png' or 'idx'"),
        ({"digits": "1", "sede": 7}, "'sede' is not a field of a request; allowed are digits, seed, count, format"),
        ("2026", "dictionary"),
    ],
)
def test_a_bad_request_gets_400_and_what_is_allowed(server, request_, message):
    answer = ask(server, request_)
    assert answer.status == 400
    text = json.loads(answer.body)
    assert message in text["message"]
    assert "stack_trace" not in text and "Traceback" not in text["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "valid JSON"),
        (b"\xff", "valid JSON"),
        (b'{"inputs": [', "valid JSON"),
        (b"[]", "Received a list"),
        (b'{"instances": [{"digits": "1"}]}', "'inputs' key"),
        (b'{"inputs": {"digits": "1"}}', "Expected list"),
    ],
)
def test_a_body_that_is_no_request_gets_400(server, body, message):
    answer = post(server, body)
    assert answer.status == 400
    assert message in json.loads(answer.body)["message"] and b"Traceback" not in answer.body


def test_behind_the_proxy_the_same_digits_come(server, proxy):
    request = {"digits": "2026", "seed": 7}
    assert ask(proxy, request) == ask(server, request)
    without_type = post(proxy, json.dumps({"inputs": [request]}).encode(), content_type=None)
    assert without_type == ask(server, request)


def test_the_proxy_refuses_a_large_body_with_413(proxy):
    assert ask(proxy, {"digits": "1" * 900_000}).status == 400  # it arrives
    answer = ask(proxy, {"digits": "1" * 1_100_000})
    assert answer.status == 413 and b"Too Large" in answer.body


def test_the_proxy_refuses_a_large_body_of_unknown_length(proxy):
    head = (
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxy), timeout=30) as connection:
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b"1" * 0x10000 + b"\r\n"
        try:
            for _ in range(40):  # 2.6 MB
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end
        assert b"413" in connection.recv(1000).split(b"\r\n")[0]


def test_the_proxy_passes_nothing_else_on(proxy):
    assert post(proxy, b"", path="/version").status == 404
    assert post(proxy, b"", path="/docs").status == 404


def test_a_thousand_digits_do_not_hold_up_the_server(server):
    """The largest call that is allowed."""
    answer = ask(server, {"digits": "0123456789", "count": 100})
    assert answer.status == 200
    assert ask(server, {"digits": "1"}).status == 200
