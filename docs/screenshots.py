"""Screenshots of MLflow for the docs, taken with headless Chromium (on Debian: apt-get install chromium).

    make screenshots        from the repository's root, with two or more finished runs and a failed one in the store

They show the page that `dcgan ui` prints the address of, and that of a run that failed. Chromium is controlled over its
DevTools protocol, to close the assistant that MLflow opens on a first visit, and to wait for the charts.
"""

import asyncio
import base64
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
from PIL import Image

IMAGES = Path("docs/images")
PORT = 5055
WIDTH, HEIGHT = 1500, 1300
WAIT_S = 60
CLOSE_ASSISTANT = 'document.querySelector(\'[data-component-id*="assistant"][data-component-id*="close"]\')?.click()'
IMAGES_ARE_SHOWN = "document.querySelectorAll('img[src*=get-artifact]').length > 1"
BARS_ARE_SHOWN = "document.querySelectorAll('.bars path').length > 3"
IMAGE_CHART = """
    [...document.querySelectorAll('[data-testid=experiment-view-compare-runs-card]')]
        .find(card => card.querySelector('img[src*=get-artifact]'))
"""
SHOW_IMAGE_CHART = f"({IMAGE_CHART}).scrollIntoView({{block: 'center'}})"
BOX_OF_IMAGE_CHART = f"(box => [box.x, box.y, box.width, box.height])(({IMAGE_CHART}).getBoundingClientRect())"


@contextlib.contextmanager
def mlflow_pages() -> Iterator[str]:
    """Run `dcgan ui`; yields the address of the page that compares runs."""
    server = subprocess.Popen(["dcgan", "ui", "--port", str(PORT)], stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            if found := re.match(r"Runs side by side: (\S+)", line):
                yield found[1]
                return
        sys.exit("error: dcgan ui did not start; its message is above")
    finally:
        server.terminate()
        server.wait()


class Page:
    """One tab of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.last_id = socket, 0

    async def call(self, method: str, **arguments: object) -> dict:
        self.last_id += 1
        await self.socket.send_json({"id": self.last_id, "method": method, "params": arguments})
        async for message in self.socket:
            answer = json.loads(message.data)
            if answer.get("id") == self.last_id:
                return answer["result"]
        raise ConnectionError("Chromium closed the connection")

    async def run(self, script: str) -> object:
        return (await self.call("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        for _ in range(2 * WAIT_S):
            if await self.run(f"Boolean({condition})"):
                return
            await asyncio.sleep(0.5)
        raise TimeoutError(f"not true after {WAIT_S} s: {condition}")

    async def open(self, address: str) -> None:
        await self.call("Page.navigate", url="about:blank")  # a new fragment alone would not load the page
        await self.call("Page.navigate", url=address)

    async def screenshot(self, path: Path, box: list[float] | None = None) -> None:
        """Of the window, or of a part of it: left, top, width and height in pixels."""
        await asyncio.sleep(4)  # charts are drawn after the page has loaded
        clip = {"clip": dict(zip(("x", "y", "width", "height", "scale"), [*box, 1], strict=True))} if box else {}
        result = await self.call("Page.captureScreenshot", format="png", **clip)
        with Image.open(io.BytesIO(base64.b64decode(result["data"]))) as image:
            image.convert("RGB").quantize(128).save(path, optimize=True)  # half the size, and looks the same
        print(path)


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        command += [f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        chromium = await asyncio.create_subprocess_exec(*command, "about:blank", stderr=asyncio.subprocess.PIPE)
        try:
            line = b""
            while not (found := re.search(rb"ws://([^/]+)/", line)):
                if not (line := await chromium.stderr.readline()):
                    sys.exit("error: Chromium did not start; try `chromium --headless about:blank`")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{found[1].decode()}/json") as answer:
                    (tab,) = [tab for tab in await answer.json() if tab["type"] == "page"]
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            chromium.terminate()
            await chromium.wait()


async def failed_run(base: str, experiment: str) -> str:
    """The id of the newest run that failed."""
    query = {"experiment_ids": [experiment], "filter": "attributes.status = 'FAILED'", "max_results": 1}
    search = f"{base}/api/2.0/mlflow/runs/search"
    async with aiohttp.ClientSession() as session, session.post(search, json=query) as answer:
        runs = (await answer.json()).get("runs")
    if not runs:
        sys.exit("error: no run has failed; make one: dvc exp run --temp -S train.learning_rate=0.9")
    return runs[0]["info"]["run_id"]


async def take_screenshots(address: str) -> None:
    base, experiment = re.match(r"(.*)/#/experiments/(\d+)/", address).groups()
    run_id = await failed_run(base, experiment)
    async with browser() as page:
        await page.open(address)
        await page.wait_for(f"{IMAGES_ARE_SHOWN} && {BARS_ARE_SHOWN}")
        await page.run(CLOSE_ASSISTANT)
        await page.screenshot(IMAGES / "mlflow_compare.png")
        await page.run(SHOW_IMAGE_CHART)
        await page.screenshot(IMAGES / "mlflow_images.png", await page.run(BOX_OF_IMAGE_CHART))
        await page.open(f"{base}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning")
        await page.wait_for("document.body.innerText.includes('Ended early')")
        await page.screenshot(IMAGES / "mlflow_failed.png", [0, 0, WIDTH, 700])


if __name__ == "__main__":
    if not shutil.which("chromium"):
        sys.exit("error: chromium was not found; on Debian: apt-get install chromium")
    with mlflow_pages() as address:
        asyncio.run(take_screenshots(address))
