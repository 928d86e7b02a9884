"""A Ray cluster on this machine whose nodes are machines of their own: each has its network and its processes.

A node is a network and a process namespace (`unshare`), connected to the others by a bridge. Killing its first process
ends everything on it at once, as a power failure does; taking its link down cuts it off while it goes on. Needs root.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clones import ROOT, environment

BRIDGE, NETWORK = "dcgan0", "10.211.0"
PORT = 6399
ADDRESS = f"{NETWORK}.1:{PORT}"
UP_S = 400
VARIABLES = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "30",  # on a busy machine, living nodes answer late
    "RAY_worker_niceness": "0",
    "RAY_raylet_start_wait_time_s": "100",
    "RAY_gcs_server_request_timeout_seconds": "60",
    "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "true",
    "RAY_memory_usage_threshold": "0.99",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
    "TOY_LOG": "/dev/null",
}
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
SMALL = ["--object-store-memory=78643200"]


def can_make_nodes() -> bool:
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        return False
    return os.geteuid() == 0 and subprocess.run(["unshare", "-n", "-p", "-f", "true"], check=False).returncode == 0


class Node:
    """A machine with one CPU, so with one run at a time."""

    def __init__(self, number: int, folder: Path, **variables: str) -> None:
        self.number, self.address = number, f"{NETWORK}.{number + 1}"
        self.log = folder / f"node-{number}.log"
        self._link = f"dcgan-n{number}"
        temporary = folder / f"n{number}"
        temporary.mkdir()
        script = (
            "mount -t proc proc /proc; ip link set lo up; "
            f"while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done; ip addr add {self.address}/24 dev eth0; "
            'ip link set eth0 up; until "$@"; do sleep 1; done'
        )
        command = [*RAY, f"--address={ADDRESS}", f"--node-ip-address={self.address}", "--num-cpus=1", *SMALL]
        isolated = ["unshare", "-n", "-p", "-m", "-f", "--kill-child", "bash", "-c", script, "node", *command]
        everything = environment() | VARIABLES | {"TMPDIR": str(temporary)} | variables
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(isolated, env=everything, stdout=log, stderr=log, start_new_session=True)
        self._connect()

    def _connect(self) -> None:
        inside = f"{self._link}i"
        _ip("link", "add", self._link, "type", "veth", "peer", "name", inside)
        _ip("link", "set", inside, "netns", str(self._first()), "name", "eth0")
        _ip("link", "set", self._link, "master", BRIDGE)
        _ip("link", "set", self._link, "up")

    def _first(self) -> int:
        """The first process inside."""
        deadline = time.monotonic() + UP_S
        while time.monotonic() < deadline:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if children and os.readlink(f"/proc/{children[0]}/ns/net") != os.readlink("/proc/self/ns/net"):
                return int(children[0])
            time.sleep(0.05)
        raise TimeoutError(f"node {self.number} did not start; see {self.log}")

    def kill(self) -> None:
        """Everything on it is gone at once."""
        self.process.kill()
        self.process.wait()

    def cut_off(self) -> None:
        """It goes on, but reaches nobody."""
        _ip("link", "set", self._link, "down")

    def reconnect(self) -> None:
        _ip("link", "set", self._link, "up")


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder, self.nodes = folder, []
        self._head: subprocess.Popen | None = None

    def start_head(self) -> None:
        """On this machine, without a CPU for runs."""
        command = [*RAY, "--head", f"--port={PORT}", f"--node-ip-address={NETWORK}.1", "--num-cpus=0", *SMALL]
        command += ["--include-dashboard=false"]
        everything = environment() | VARIABLES
        with open(self.folder / "head.log", "w") as log:
            command += [f"--temp-dir={self.folder / 'ray'}"]
            self._head = subprocess.Popen(command, env=everything, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + UP_S
        while "--block" not in (self.folder / "head.log").read_text():  # it says so once it is up
            assert time.monotonic() < deadline and self._head.poll() is None, (self.folder / "head.log").read_text()
            time.sleep(0.2)

    def add_node(self, **variables: str) -> Node:
        node = Node(len(self.nodes) + 1, self.folder, **variables)
        self.nodes.append(node)
        return node

    def wait_for_nodes(self, count: int) -> None:
        code = (
            "import ray, sys, time; ray.init(sys.argv[1], logging_level='error', log_to_driver=False)\n"
            "while sum(n['Alive'] for n in ray.nodes()) < int(sys.argv[2]): time.sleep(0.2)"
        )
        command = [sys.executable, "-c", code, ADDRESS, str(count + 1)]
        subprocess.run(command, env=environment() | VARIABLES, check=True, timeout=UP_S)

    def close(self) -> None:
        for node in self.nodes:
            with suppress(ProcessLookupError):
                node.kill()
        if self._head:
            with suppress(subprocess.TimeoutExpired):
                self._head.terminate()
                self._head.wait(30)
            self._head.kill()
            self._head.wait()


@contextmanager
def cluster(folder: Path, count: int) -> Iterator[Cluster]:
    """A head without CPUs for runs, and so many nodes."""
    subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL, check=False)
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    made = Cluster(folder)
    try:
        made.start_head()
        for number in range(count):
            made.add_node()
            made.wait_for_nodes(number + 1)
        yield made
    finally:
        made.close()
        _ip("link", "del", BRIDGE)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
