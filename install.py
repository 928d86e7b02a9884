"""Install a lock with uv into the environment of the Python that runs this: `.venv/bin/python install.py LOCK`.

uv downloads in parallel and links files from its cache. It knows nothing of pip's settings: an index, proxy or
certificate that is set for pip (`pip config`, PIP_* variables) is passed on here. uv itself is installed by pip, with
the version and the hashes of requirements.txt.

Uses the standard library only: it runs before anything else is installed.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path

UV_LOCK = Path(__file__).resolve().with_name("requirements.txt")  # where uv is pinned
LINE_EVERY_S = 15.0  # where the output is no terminal
UV_NAMES = {  # of pip's settings, with and without which uv finds other packages, or none
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "no-cache-dir": "UV_NO_CACHE",
}


class InstallError(Exception):
    """The packages cannot be installed; the message is the reason, in one line."""


def main() -> None:
    lock = Path(sys.argv[1])
    count = len(re.findall(r"^[\w.-]+==", lock.read_text(), re.MULTILINE))
    size = ": up to 3 GB to download, 6 GB on disk, a minute or two" if lock.resolve() == UV_LOCK else ""
    print(f"installing {lock.name}, {count} packages, into {Path(sys.prefix).name}{size}", file=sys.stderr)
    started = time.monotonic()
    try:
        environment = os.environ | uv_settings(pip_settings(), os.environ)
        install_uv()
        install(lock, environment)
    except InstallError as error:
        sys.exit(f"error: {error}")
    print(f"installed in {time.monotonic() - started:.0f} s", file=sys.stderr)


def pip_settings() -> dict[str, str]:
    """What `pip install` would use, by the name of the option: from pip's configuration files and PIP_* variables."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    if listed.returncode:
        raise InstallError(f"pip's settings cannot be read; {last_line(listed.stderr)}")
    settings = {section: {} for section in ("global", "install", ":env:")}  # each is stronger than those before
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        settings.setdefault(section, {})[option] = ast.literal_eval(value)
    return settings["global"] | settings["install"] | settings[":env:"]


def uv_settings(settings: dict[str, str], environment: dict[str, str]) -> dict[str, str]:
    """The environment variables by which uv uses pip's `settings`; what is in `environment` already is kept."""
    mapped = {UV_NAMES[option]: " ".join(value.split()) for option, value in settings.items() if option in UV_NAMES}
    if "UV_FIND_LINKS" in mapped:
        mapped["UV_FIND_LINKS"] = mapped["UV_FIND_LINKS"].replace(" ", ",")
    if proxy := settings.get("proxy"):
        mapped |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    # as pip does; uv would take a package from the first index that has any version of it. The hashes decide.
    mapped["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in mapped.items() if name not in environment}


def install_uv() -> None:
    """Install the pinned uv with pip, unless it is there."""
    pinned = re.search(r"^uv==(\S+).*?(?=^\S|\Z)", UV_LOCK.read_text(), re.MULTILINE | re.DOTALL)
    try:
        if metadata.version("uv") == pinned[1]:
            return
    except metadata.PackageNotFoundError:
        pass
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "uv.txt"
        lock.write_text(pinned[0])
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-input"]
        done = subprocess.run([*command, "--require-hashes", "-r", str(lock)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise InstallError(f"pip cannot install uv; {pip_reason(done.stderr)}")


def pip_reason(stderr: str) -> str:
    """pip's first error, after its first warning: that one says what is wrong with the index."""
    lines = [line.strip() for line in stderr.splitlines()]
    retrying = [line.partition("connection broken by ")[2] for line in lines if "connection broken by " in line]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return "; ".join([*retrying[:1], *errors[:1]]) or last_line(stderr)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]


def install(lock: Path, environment: dict[str, str]) -> None:
    """Install all that is in `lock`, nothing else, each package only with one of its hashes."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--no-deps"]
    command += ["--require-hashes", "--build-constraints", str(UV_LOCK), "-r", str(lock)]
    uv = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    progress = Progress()
    lines = []
    for line in uv.stderr:
        lines.append(line.rstrip())
        progress.read(lines[-1])
    progress.stop()
    if uv.wait():
        raise InstallError(uv_reason(lines))


def uv_reason(lines: list[str]) -> str:
    """What went wrong, and its first and last cause, in one line."""
    start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), 0)
    parts = []
    for line in lines[start:]:
        text = re.sub(r"^(error|hint): ", "", line).strip()
        if line.startswith("  cause: ") or not parts:
            parts.append(text.removeprefix("cause: "))
        elif text:
            parts[-1] += f" {text}"
    shown = dict.fromkeys([*parts[:2], *parts[-1:]])
    index = "; see the index with `pip config list`" if any("Failed to fetch" in part for part in parts) else ""
    return (": ".join(shown) or "uv gave no reason") + index


class Progress:
    """What uv has downloaded, from its messages: one line that changes on a terminal, elsewhere one every 15 s.

    uv names only packages of more than a megabyte.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, float] = {}  # of the packages that are being downloaded or have been, in MB
        self.done: set[str] = set()
        self.phase = "resolving"
        self.stopped = threading.Event()
        self.terminal = sys.stderr.isatty()
        self.thread = threading.Thread(target=self._show, daemon=True)
        self.started = time.monotonic()
        self.thread.start()

    def read(self, line: str) -> None:
        if found := re.match(r"Downloading (\S+) \(([\d.]+)(\w+)\)", line):
            scale = {"KiB": 1024e-6, "MiB": 1.048576, "GiB": 1073.741824}.get(found[3], 0)
            self.sizes = self.sizes | {found[1]: float(found[2]) * scale}
        elif found := re.match(r" Downloaded (\S+)", line):
            self.done = self.done | {found[1]}
        elif line.startswith("Prepared "):
            self.phase = "linking files"

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()

    def _show(self) -> None:
        while not self.stopped.wait(1.0 if self.terminal else LINE_EVERY_S):
            print(
                ("\r\x1b[K" if self.terminal else "") + self._line(), file=sys.stderr, end="" if self.terminal else "\n"
            )
            sys.stderr.flush()
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        sizes, done = self.sizes, self.done
        seconds = f"{time.monotonic() - self.started:.0f} s"
        left = [name for name in sizes if name not in done]
        if self.phase == "resolving" and left:
            received = sum(sizes.get(name, 0) for name in done)
            largest = ", ".join(sorted(left, key=sizes.get)[-3:])
            return f"{received:,.0f} of {sum(sizes.values()):,.0f} MB downloaded, {seconds}; on the way: {largest}"
        return f"{self.phase}, {seconds}"


if __name__ == "__main__":
    main()
