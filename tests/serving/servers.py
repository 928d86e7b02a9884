"""A real model server and a real nginx in front of it, on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tracking.helpers import free_port

from dcgan.commands.ui import answers

ROOT = Path(__file__).parents[2]
NGINX = """
daemon off;
master_process off;  # as the user of the tests, who owns the folders below
worker_processes 1;
error_log stderr;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {site}
}}
"""


@dataclass
class Answer:
    status: int
    body: bytes

    @property
    def predictions(self) -> list:
        return json.loads(self.body)["predictions"]


def post(port: int, body: bytes, content_type: str | None = "application/json", path: str = "/invocations") -> Answer:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method="POST")
    request.add_header("Content-Type", content_type or "")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read())


def ask(port: int, *requests: dict) -> Answer:
    return post(port, json.dumps({"inputs": requests}).encode())


@contextmanager
def served(model: str, tracking_uri: str, folder: Path) -> Iterator[int]:
    """`mlflow models serve` of a model, without this checkout on its path; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": tracking_uri, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with running([*command, "-p", str(port)], port, folder / "server.log", environment):
        yield port


@contextmanager
def proxied(server: int, folder: Path) -> Iterator[int]:
    """nginx with the configuration in deploy/, on another port; gives the port."""
    port = free_port()
    site = (ROOT / "deploy" / "nginx.conf").read_text()
    assert site.count("5001;") == 2 and site.count("listen 8080;") == 1
    site = site.replace("127.0.0.1:5001;", f"127.0.0.1:{server};").replace("listen 8080;", f"listen 127.0.0.1:{port};")
    (folder / "nginx.conf").write_text(NGINX.format(site=site))
    with running(["nginx", "-p", folder, "-c", folder / "nginx.conf"], port, folder / "nginx.log", os.environ):
        yield port


@contextmanager
def running(command: list, port: int, log: Path, environment: dict) -> Iterator[None]:
    """A process in its own session, from when it answers on the port until the end of the block."""
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 180
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server is a child of the command
        process.wait(30)
