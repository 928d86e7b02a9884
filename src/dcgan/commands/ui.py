"""`dcgan ui`: MLflow's page on the right store, and the address at which runs stand side by side."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser

from dcgan.commands.publish import talking_to
from dcgan.paths import root_folder
from dcgan.support.errors import UserError
from dcgan.tracking.locations import redact_password, store_uri


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")


def run(args: argparse.Namespace) -> int:
    root = root_folder()
    uri = store_uri(root)
    if uri.startswith(("http://", "https://")):
        show(address(uri, experiment_id(uri)))
        return 0
    check_port(args.port)
    place = address(f"http://127.0.0.1:{args.port}", experiment_id(uri))
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # its helper processes serve other pages
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the server would outlive this command
    server = subprocess.Popen([*command, "--port", str(args.port)], cwd=root, env=environment)
    try:
        while server.poll() is None and not answers(args.port):
            time.sleep(0.2)
        if server.poll() is None:
            show(place)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def experiment_id(uri: str) -> str:
    with talking_to(uri) as store:
        return store.experiment_id


def address(base: str, experiment: str) -> str:
    """The comparison view; MLflow's own front page opens on another kind of project."""
    page = f"experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    return f"{redact_password(base).rstrip('/')}/#/{page}"


def check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise UserError(f"--port is {port}; allowed are 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}); is the page open already? else take another: "
                f"dcgan ui --port {port + 1 if port < 65535 else port - 1}"
            ) from error


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def show(place: str) -> None:
    print(f"\nRuns side by side: {place}\n", flush=True)
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(place)
