"""Screenshots of MLflow for the README, taken with headless Chromium (on Debian: apt-get install chromium).

    make screenshots        from the repository's root, with two or more runs in the store

Chromium is controlled over its DevTools protocol, to type a search and close a panel before each screenshot.
"""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp

IMAGES = Path("docs/images")
PORT = 5055
WIDTH, HEIGHT = 1500, 1250
WAIT_S = 60
CHARTS = (
    "relative_fid|eval/recall|eval/cas|train/loss|train/acc_real"  # MLflow's chart search takes regular expressions
)
CLOSE_PLOTS = "[...document.querySelectorAll('[role=button]')].find(e => e.innerText == 'Visualizations')?.click()"
CLOSE_ASSISTANT = 'document.querySelector(\'[data-component-id*="assistant"][data-component-id*="close"]\')?.click()'


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

    async def screenshot(self, path: Path) -> None:
        await asyncio.sleep(4)  # charts are drawn after the page has loaded
        result = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(result["data"]))
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


async def take_screenshots(address: str) -> None:
    base, experiment = re.match(r"(.*)/#/experiments/(\d+)/", address).groups()
    async with aiohttp.ClientSession() as session:
        query = {"experiment_ids": [experiment]}
        async with session.post(f"{base}/api/2.0/mlflow/runs/search", json=query) as answer:
            runs = [run["info"]["run_id"] for run in (await answer.json())["runs"]]
    async with browser() as page:
        await page.open(address)
        search = "document.querySelector('input[placeholder=\"Search metric charts\"]')"
        await page.wait_for(search)
        await page.run(CLOSE_ASSISTANT)
        await page.run(f"{search}.focus()")
        await page.call("Input.insertText", text=CHARTS)
        await page.screenshot(IMAGES / "mlflow_compare.png")
        await page.open(f"{base}/#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([experiment])}")
        await page.wait_for("document.body.innerText.includes('Show diff only')")
        await page.run(CLOSE_PLOTS)
        await page.run("document.querySelector('[role=switch]').click()")  # show diff only
        await page.screenshot(IMAGES / "mlflow_parameters.png")


if __name__ == "__main__":
    if not shutil.which("chromium"):
        sys.exit("error: chromium was not found; on Debian: apt-get install chromium")
    with mlflow_pages() as address:
        asyncio.run(take_screenshots(address))
