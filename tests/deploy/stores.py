"""A real team's store on loopback: PostgreSQL, SeaweedFS and `mlflow server`, as `make team` starts them."""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import requests
from clones import ROOT, environment
from tracking.helpers import free_port

from dcgan.commands import publish
from dcgan.support.errors import UserError

PARTS = ("postgres", "weed", "mlflow")  # a word in the command line of each


class TeamStore:
    """The store, to be used in a `with` block. Its folder can be reached by the user postgres, if this is root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="team-"))
        self.folder.chmod(0o755)
        self.secrets = {
            name: secrets.token_hex(16)
            for name in (
                "POSTGRES_PASSWORD",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "MLFLOW_AUTH_ADMIN_PASSWORD",
                "MLFLOW_FLASK_SERVER_SECRET_KEY",
            )
        }
        self.port = free_ports()
        self.uri, self.s3 = (f"http://127.0.0.1:{self.port + offset}" for offset in (0, 1))

    def __enter__(self) -> "TeamStore":
        self.clone = self.folder / "clone"  # whose DVC remote is set
        self.clone.mkdir()
        for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
            subprocess.run(command, cwd=self.clone, env=environment(), check=True)
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        log = self.folder / "log"
        variables = {"TEAM_FOLDER": str(self.folder / "store"), "TEAM_PORT": str(self.port)}
        with open(log, "wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "deploy" / "team_store.py"],
                cwd=self.clone,
                env=environment() | self.secrets | variables,
                stdout=stream,
                stderr=stream,
            )
        deadline = time.monotonic() + 300  # 20 s on an idle machine
        while "the store is ready" not in log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(120)

    def kill(self, word: str) -> None:
        """kill -9 of a part's main process; if the part is just being started again, as soon as that is there."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for process in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any(word in argument for argument in process.cmdline()):
                        process.kill()
                        return
            time.sleep(0.2)
        raise AssertionError(f"no process {word}")

    def add_user(self, name: str) -> str:
        """A user who may use every experiment; returns the password."""
        password = secrets.token_hex(8)
        self.admin("2.0/mlflow/users/create", username=name, password=password)
        return password

    def forbid(self, name: str, experiment: str) -> None:
        where = {"resource_type": "experiment", "resource_id": experiment}
        self.admin("3.0/mlflow/users/permissions/grant", username=name, permission="DENY", **where)

    def admin(self, path: str, **values: str) -> None:
        identity = ("admin", self.secrets["MLFLOW_AUTH_ADMIN_PASSWORD"])
        deadline = time.monotonic() + 180
        while True:  # a part may have been killed just now
            with contextlib.suppress(requests.ConnectionError):
                answer = requests.post(f"{self.uri}/api/{path}", json=values, auth=identity, timeout=60)
                if answer.ok:
                    return
                assert answer.status_code >= 500, answer.text
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def access(self, user: str, password: str) -> dict[str, str]:
        """Environment variables of a user of MLflow."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
        }

    def query(self, sql: str, *values: object) -> list[tuple]:
        """Rows of MLflow's database."""
        import psycopg2  # only `make test-all` installs it

        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port + 2,
            user="postgres",
            password=self.secrets["POSTGRES_PASSWORD"],
            dbname="mlflow",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        finally:
            connection.close()

    def objects(self, bucket: str) -> dict[str, int]:
        """Key -> bytes of every object."""
        import boto3  # only `make test-all` installs it

        client = boto3.client(
            "s3",
            endpoint_url=self.s3,
            region_name="us-east-1",
            aws_access_key_id=self.secrets["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.secrets["AWS_SECRET_ACCESS_KEY"],
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def free_ports() -> int:
    """The first of seven free ports; SeaweedFS uses those 10000 above them, too."""
    while True:
        first = 10_000 + free_port() % 10_000
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in (*range(first, first + 7), *range(first + 10_000, first + 10_007)):
                probe = stack.enter_context(contextlib.closing(socket.socket()))
                probe.bind(("127.0.0.1", port))
            return first


def publish_all(clone: Path, variables: dict[str, str], attempts) -> None:
    """`dcgan publish`, again and again until it has sent everything."""
    os.environ |= variables
    os.chdir(clone)
    while True:
        with attempts.get_lock():
            attempts.value += 1
        with contextlib.suppress(UserError):  # the store does not answer
            if publish.run(argparse.Namespace(workspace=False)) == 0:
                return
        time.sleep(10)
