"""The page in a real browser, for tests: a tab that is driven as a user would."""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from build_page import PAGE
from chromium import Page, chromium
from clones import ROOT

AXE = "axe-core@4.14.1"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
SHOWN = "performance.getEntriesByName('first number').length"


class Tab:
    """Blocking calls to one tab of Chromium. `address` starts with "#" and follows the file's own."""

    def __init__(self, page: Page, loop: asyncio.AbstractEventLoop) -> None:
        self.page, self.loop = page, loop

    def _wait(self, work: Coroutine) -> object:
        return self.loop.run_until_complete(work)

    def call(self, method: str, **arguments: object) -> dict:
        return self._wait(self.page.call(method, **arguments))

    def run(self, script: str) -> object:
        return self._wait(self.page.run(script))

    def wait_for(self, condition: str) -> None:
        self._wait(self.page.wait_for(condition))

    def open(self, address: str = "", width: int = 1200, scheme: str = "light", motion: str = "reduce") -> None:
        """Wait until the number is there. Without motion, a change is complete when it returns."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        self.call("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features.items()])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.page.events.clear()
        self._wait(self.page.open(f"{PAGE.as_uri()}{address}"))
        self.wait_for(SHOWN)

    def events(self, method: str) -> list[dict]:
        """What the browser reported since `open`."""
        self.run("0")  # reads what has arrived
        return [event["params"] for event in self.page.events if event["method"] == method]

    def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            named = {
                "key": key,
                "code": key,
                "windowsVirtualKeyCode": {"Enter": 13, "Tab": 9, "ArrowRight": 39}.get(key, 0),
            }
            self.call(
                "Input.dispatchKeyEvent", type=kind, **named, **({"text": text} if kind == "keyDown" and text else {})
            )

    def type_into(self, name: str, text: str) -> None:
        self.run(f"element('{name}').focus(), element('{name}').select()")
        self.call("Input.insertText", text=text)

    def bytes_of(self, script: str) -> bytes:
        """Of a Blob or a typed array, or of what promises it."""
        encode = "reader.readAsDataURL(new Blob([value]))"
        return base64.b64decode(
            self.run(
                f"Promise.resolve({script}).then(value => new Promise(resolve => {{ const reader = new FileReader();"
                f"reader.onload = () => resolve(reader.result.split(',')[1] ?? ''); {encode}; }}))"
            )
        )

    def images(self, script: str = "drawn") -> np.ndarray:
        """uint8 (N, 28, 28): the levels of a list of drawn digits."""
        raw = self.bytes_of(f"new Blob({script}.map(digit => digit.levels))")
        return np.frombuffer(raw, np.uint8).reshape(-1, 28, 28)

    def serious_violations(self) -> list[str]:
        """What axe-core reports, as rule and element."""
        self.call("Runtime.evaluate", expression=_axe())
        found = self.run(
            "axe.run().then(result => JSON.stringify(result.violations"
            ".filter(rule => ['serious', 'critical'].includes(rule.impact))"
            ".map(rule => `${rule.id}: ${rule.nodes.map(node => node.html.slice(0, 100))}`)))"
        )
        return json.loads(found)


@contextmanager
def browser() -> Iterator[Tab]:
    """A browser; where there is none, the test is skipped, and in CI it fails."""
    if not shutil.which("chromium"):
        missing("chromium is not installed")
    loop = asyncio.new_event_loop()
    running = chromium(1200, 900)
    try:
        page = loop.run_until_complete(running.__aenter__())
    except RuntimeError as error:  # some builds of Chromium crash at launch
        version = subprocess.run(["chromium", "--version"], capture_output=True, text=True).stdout
        pytest.fail(f"{error}\n{version}")
    try:
        tab = Tab(page, loop)
        for domain in ("Runtime", "Log", "Network", "Page"):
            tab.call(f"{domain}.enable")
        yield tab
    finally:
        loop.run_until_complete(running.__aexit__(None, None, None))
        loop.close()


def _axe() -> str:
    """axe-core's script, from npm; the package is kept beside MNIST and verified by hash every time it is used."""
    path = ROOT / ".pytest_cache" / "axe-core.tgz"
    if not path.exists():
        _download(path)
    package = path.read_bytes()
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != AXE_SHA512:
        path.unlink()
        pytest.fail(f"{AXE} has another hash")
    with tarfile.open(path) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def _download(path: Path) -> None:
    if not shutil.which("npm"):
        missing("npm is not installed")
    folder = path.with_suffix(".download")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        missing(f"npm does not have {AXE}: {done.stderr.strip()[-300:]}")
    (folder / done.stdout.split()[-1]).replace(path)
    folder.rmdir()


def missing(what: str) -> None:
    """Skip the test, but not in CI, where .github/scripts/install_system_packages.sh installs what is needed."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)
