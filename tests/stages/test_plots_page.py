"""The page of `dvc plots diff`, in Chromium and without a network: charts are drawn, pictures are beside each other."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from clones import ROOT, run

from dcgan.images import png

MEASURE = """<!doctype html><iframe src="page/index.html" width="1000" height="2000"></iframe><pre></pre><script>
const frame = document.querySelector('iframe')
frame.onload = () => setTimeout(() => {
  const page = frame.contentDocument
  const box = e => { const {left, top, width} = e.getBoundingClientRect(); return [left, top, width, e.naturalWidth] }
  document.querySelector('pre').textContent = JSON.stringify({
    charts: page.querySelectorAll('canvas').length, pictures: [...page.querySelectorAll('img')].map(box)})
}, 1000)
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A repository with the plots of this one, with two commits, and the page that compares them."""
    folder = tmp_path_factory.mktemp("plots")
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    run(folder, "git", "init", "-q")
    for loss in (1, 2):
        for plot in plots:
            path = folder / (plot if isinstance(plot, str) else "metrics/curves.csv")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(np.full((300, 600), 80 * loss, np.uint8)))
        series = ("images", "loss_d", "loss_g", "acc_real", "acc_fake")
        rows = [series, *((images, loss, loss, 0.5, 0.5) for images in (64, 128))]
        (folder / "metrics/curves.csv").write_text("".join(f"{','.join(map(str, row))}\n" for row in rows))
        run(folder, "git", "add", "-A")
        run(folder, "git", "commit", "-qm", f"loss {loss}")
    run(folder, "dvc", "plots", "diff", "HEAD~", "HEAD", "-o", "page")
    return folder


def test_the_page_loads_nothing_from_elsewhere(folder):
    page = (folder / "page/index.html").read_text()
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=.https?:[^>]*>", page) == []


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_charts_are_drawn_and_pictures_are_beside_each_other(folder):
    (folder / "measure.html").write_text(MEASURE)
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", "--virtual-time-budget=9000"]
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", *offline]
    shown = subprocess.run(
        [*command, "--dump-dom", f"file://{folder}/measure.html"], capture_output=True, text=True, timeout=120
    )
    found = json.loads(re.search(r"<pre>(.+)</pre>", shown.stdout)[1])
    assert found["charts"] == 2
    assert len(found["pictures"]) == 8
    for left, right in zip(found["pictures"][::2], found["pictures"][1::2], strict=True):
        assert left[1] == right[1] and left[0] < right[0]  # the same top
        for _, _, width, natural in (left, right):
            assert natural == 1200 and 400 < width <= 500
