"""Load on the model server: requests per second and waiting times, beside a model that only checks the request.

Run with `python benchmarks/serving.py`: some minutes on two idle cores. Clients and server share the cores. Every
answer is compared with the first one; one that differs, is missing or has another status counts as lost.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import mlflow
import numpy as np
import psutil

from dcgan.paths import READY_MADE_GENERATOR
from dcgan.support.files import write_atomic
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.mlflow_models import write_model
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import log_served_model

BODY = json.dumps({"inputs": [{"digits": "2026", "seed": 7}]}).encode()
CLIENTS = (1, 8, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="per number of clients (default: 20)")
    parser.add_argument("--requests", type=int, default=10_000, help="for the memory (default: 10000)")
    args = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; MLflow {mlflow.__version__}\n")
    print("| model | clients | requests/s | median ms | 99 % ms | lost |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for name, folder in (("digits", digit_model(Path(temporary))), ("echo", echo_model(Path(temporary)))):
            with served(folder) as (port, process):
                asyncio.run(load(port, 1, seconds=2))  # warm up
                for clients in CLIENTS:
                    print_row(name, clients, asyncio.run(load(port, clients, seconds=args.seconds)))
                if name == "digits":
                    before = memory_mb(process)
                    answers = asyncio.run(load(port, 8, requests=args.requests))
                    note = f"{len(answers):,} more requests: {before:.0f} MB before, {memory_mb(process):.0f} MB after"
                    note += f", {sum(seconds is None for seconds in answers)} lost"
    print(f"\n{note}")


def digit_model(folder: Path) -> Path:
    """The ready-made generator as it is registered."""
    write_atomic(folder / PIPELINE.model, READY_MADE_GENERATOR.read_bytes())
    run_log = RunLog.create(folder, "load")
    run_log.log_params({"model": {"conditional": True}})
    log_served_model(PIPELINE, run_log, folder)
    write_model(folder / "digits", run_log, run_log.model(PIPELINE.served.name))
    return folder / "digits"


def echo_model(folder: Path) -> Path:
    code = Path(__file__).with_name("echo_model.py")
    mlflow.pyfunc.save_model(str(folder / "echo"), python_model=str(code), pip_requirements=["mlflow"])
    return folder / "echo"


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The model behind `mlflow models serve`; gives the port and the command's process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with open(folder.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen(
            [*command, "-p", str(port)], stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        while not asyncio.run(is_up(port)):
            assert process.poll() is None, folder.with_suffix(".log").read_text()
            time.sleep(0.2)
        yield port, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


async def is_up(port: int) -> bool:
    try:
        url, limit = f"http://127.0.0.1:{port}/ping", aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def load(port: int, clients: int, seconds: float = np.inf, requests: float = np.inf) -> list[float | None]:
    """How long each request took, in seconds; None: it was lost. Clients send one after the other, for that many
    seconds or requests in all."""
    url, times, first = f"http://127.0.0.1:{port}/invocations", [], []
    end = time.perf_counter() + seconds
    started = 0

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal started
        while time.perf_counter() < end and started < requests:
            started += 1
            begin = time.perf_counter()
            try:
                async with session.post(url, data=BODY, headers={"Content-Type": "application/json"}) as answer:
                    content = await answer.read()
                    first[:] = first or [content]
                    fine = answer.status == 200 and content == first[0]
            except (aiohttp.ClientError, TimeoutError):
                fine = False
            times.append(time.perf_counter() - begin if fine else None)

    connections = aiohttp.TCPConnector(limit=clients)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connections, timeout=timeout) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return times


def print_row(name: str, clients: int, times: list[float | None]) -> None:
    good = np.array([seconds for seconds in times if seconds is not None])
    rate = clients / good.mean()  # each client always has one request under way
    median, slow = 1000 * np.percentile(good, [50, 99])
    lost = len(times) - len(good)
    print(f"| {name} | {clients} | {rate:.0f} | {median:.1f} | {slow:.1f} | {lost} of {len(times)} |", flush=True)


def memory_mb(process: psutil.Process) -> float:
    """Resident memory of a process and its children."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 1e6


if __name__ == "__main__":
    main()
