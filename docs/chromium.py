"""Headless Chromium, controlled over its DevTools protocol (on Debian: apt-get install chromium)."""

import asyncio
import base64
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator
from json import loads

import aiohttp

WAIT_S = 60


class Page:
    """One tab of a browser. `events` are what the browser reported since the tab was opened, if asked to by `call`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.last_id, self.events = socket, 0, []

    async def call(self, method: str, **arguments: object) -> dict:
        """Raises:
        RuntimeError: the browser refuses; the message is its reason.
        """
        self.last_id += 1
        await self.socket.send_json({"id": self.last_id, "method": method, "params": arguments})
        async for message in self.socket:
            answer = loads(message.data)
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)
        raise ConnectionError("Chromium closed the connection")

    async def run(self, script: str) -> object:
        """The value of a JavaScript expression, or of what it promises; None if it throws."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        for _ in range(10 * WAIT_S):
            if await self.run(f"Boolean({condition})"):
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"not true after {WAIT_S} s: {condition}")

    async def open(self, address: str) -> None:
        await self.call("Page.navigate", url="about:blank")  # a new fragment alone would not load the page
        await self.call("Page.navigate", url=address)

    async def screenshot(self, box: list[float] | None = None) -> bytes:
        """A PNG of the window, or of a part of it: left, top, width and height in pixels."""
        clip = {"clip": dict(zip(("x", "y", "width", "height", "scale"), [*box, 1], strict=True))} if box else {}
        beyond = {"captureBeyondViewport": True} if box else {}
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png", **clip, **beyond))["data"])


@contextlib.asynccontextmanager
async def chromium(width: int, height: int) -> AsyncIterator[Page]:
    """Start a browser with an empty profile and a window of that size.

    Raises:
        RuntimeError: it ended before it was ready; the message has what it said.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        command += ["--disable-dev-shm-usage"]  # in a container, shared memory may be only 64 MB
        command += [f"--window-size={width},{height}", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        process = await asyncio.create_subprocess_exec(*command, "about:blank", stderr=asyncio.subprocess.PIPE)
        try:
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{await _address(process.stderr)}/json") as answer:
                    (tab,) = [tab for tab in await answer.json() if tab["type"] == "page"]
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _address(stderr: asyncio.StreamReader) -> str:
    said = b""
    while line := await stderr.readline():
        if found := re.search(rb"ws://([^/]+)/", line):
            return found[1].decode()
        said += line
    raise RuntimeError(f"Chromium did not start; it said: {said.decode(errors='replace')[-1000:]}")
