"""Screenshots for the docs, taken with headless Chromium (on Debian: apt-get install chromium).

    make screenshots        from the repository's root, with two or more finished runs and a failed one in the store

They show page/index.html (wide, on a phone, dark), the page that `dcgan ui` prints the address of, and that of a run
that failed. Chromium closes the assistant that MLflow opens on a first visit, and waits for the charts.
"""

import asyncio
import contextlib
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from chromium import Page, chromium
from PIL import Image

IMAGES = Path("docs/images")
PORT = 5055
WIDTH, HEIGHT = 1500, 1300
PAGE = Path("page/index.html")
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


async def failed_run(base: str, experiment: str) -> str:
    """The id of the newest run that failed."""
    query = {"experiment_ids": [experiment], "filter": "attributes.status = 'FAILED'", "max_results": 1}
    search = f"{base}/api/2.0/mlflow/runs/search"
    async with aiohttp.ClientSession() as session, session.post(search, json=query) as answer:
        runs = (await answer.json()).get("runs")
    if not runs:
        sys.exit("error: no run has failed; make one: dvc exp run --temp -S train.learning_rate=0.9")
    return runs[0]["info"]["run_id"]


async def save(page: Page, name: str, box: list[float] | None = None) -> None:
    path = IMAGES / name
    with Image.open(io.BytesIO(await page.screenshot(box))) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)  # half the size, and looks the same
    print(path)


async def save_charts(page: Page, name: str, box: list[float] | None = None) -> None:
    await asyncio.sleep(4)  # charts are drawn after the page has loaded
    await save(page, name, box)


async def show_page(page: Page, address: str, width: int, height: int, scheme: str) -> None:
    device = {"width": width, "height": height, "deviceScaleFactor": 2 if width < 500 else 1, "mobile": width < 500}
    await page.call("Emulation.setDeviceMetricsOverride", **device)
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await page.open(f"{PAGE.resolve().as_uri()}{address}")
    await page.wait_for("performance.getEntriesByName('first number').length")
    await asyncio.sleep(1)  # the first frames


async def take_page_screenshots() -> None:
    async with chromium(WIDTH, HEIGHT) as page:
        await show_page(page, "#2026/1", 1200, 980, "light")
        await save(page, "page_wide.png")
        await show_page(page, "#31415926/3/slant=1", 1200, 980, "dark")
        await save(page, "page_dark.png")
        await show_page(page, "#2026/1", 390, 844, "light")
        await save(page, "page_phone.png")


async def take_mlflow_screenshots(address: str) -> None:
    base, experiment = re.match(r"(.*)/#/experiments/(\d+)/", address).groups()
    run_id = await failed_run(base, experiment)
    async with chromium(WIDTH, HEIGHT) as page:
        await page.open(address)
        await page.wait_for(f"{IMAGES_ARE_SHOWN} && {BARS_ARE_SHOWN}")
        await page.run(CLOSE_ASSISTANT)
        await save_charts(page, "mlflow_compare.png")
        await page.run(SHOW_IMAGE_CHART)
        await save_charts(page, "mlflow_images.png", await page.run(BOX_OF_IMAGE_CHART))
        await page.open(f"{base}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning")
        await page.wait_for("document.body.innerText.includes('Ended early')")
        await save_charts(page, "mlflow_failed.png", [0, 0, WIDTH, 700])


if __name__ == "__main__":
    if not shutil.which("chromium"):
        sys.exit("error: chromium was not found; on Debian: apt-get install chromium")
    asyncio.run(take_page_screenshots())
    with mlflow_pages() as address:
        asyncio.run(take_mlflow_screenshots(address))
