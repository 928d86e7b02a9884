"""`dcgan ui`: MLflow's web page for this project's store, and the address of the page that compares runs."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser

from dcgan.commands.numbers import whole_number
from dcgan.commands.publish import open_store
from dcgan.paths import root_folder
from dcgan.support.errors import UserError
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.comparison import VIEW
from dcgan.tracking.locations import redact_password, store_uri


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole_number, default=5000, help="default: 5000")


def run(args: argparse.Namespace) -> int:
    root = root_folder()
    uri = store_uri(root)
    if uri.startswith(("http://", "https://")):
        show(comparison_page(uri, prepare(uri)))
        return 0
    check_port(args.port)
    page = comparison_page(f"http://127.0.0.1:{args.port}", prepare(uri))
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # not on the command line, where `ps` would show a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # helper processes for pages that are not used here
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # otherwise the server would outlive this command
    server = subprocess.Popen([*command, "--port", str(args.port)], cwd=root, env=environment)
    try:
        while server.poll() is None and not answers(args.port):
            time.sleep(0.2)
        if server.poll() is None:
            show(page)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def prepare(uri: str) -> str:
    """Save the layout of the comparison in the store; returns the experiment's id."""
    with open_store(uri) as store:
        store.save_comparison(PIPELINE)
        return store.experiment_id


def comparison_page(server: str, experiment: str) -> str:
    """The address of the comparison with its layout; MLflow's start page opens on its features for language models."""
    path = f"experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={VIEW}"
    return f"{redact_password(server).rstrip('/')}/#/{path}"


def check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise UserError(f"--port is {port}; allowed are 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}); if `dcgan ui` is not running already, use another: "
                f"dcgan ui --port {port + 1 if port < 65535 else port - 1}"
            ) from error


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def show(page: str) -> None:
    print(f"\nRuns side by side: {page}\n", flush=True)
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(page)
