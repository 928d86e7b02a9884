"""A scores file and a baseline that `dcgan check` accepts."""

import json
from pathlib import Path

import numpy as np

from dcgan.gate.baseline import build_baseline
from dcgan.gate.revisions import read_run
from dcgan.gate_settings import GATE

PROTOCOL = {
    "version": 2,
    "features_sha256": "ab",
    "n_generated": 10000,
    "n_real": 10000,
    "n_samples": 60000,
    "class_mix": "mnist",
    "sample_seed": 1000,
    "evaluate_seed": 2000,
}
TRAINING = {"seed": 1, "images": 720000, "device": "cpu", "precision": "bf16", "workers": 2, "conditional": True}
SCORES = {"relative_fid": 2.4, "recall": 0.87, "label_accuracy": 0.985, "cas": 0.986, "kid_x1000": 1.5, "fid_real": 3.0}


def write_run(folder: Path, training: dict | None = None, protocol: dict | None = None, **scores: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    context = {"protocol": {**PROTOCOL, **(protocol or {})}, "training": {**TRAINING, **(training or {})}}
    (folder / "evaluate.json").write_text(json.dumps({**SCORES, **scores, **context}))
    return folder / "evaluate.json"


def write_baseline(folder: Path, scratch: Path, training: dict | None = None) -> None:
    """Eight seeds; relative FID varies by 6 % over them."""
    generator = np.random.default_rng(0)
    runs = []
    for seed in range(2, 10):
        spread = generator.normal(0, 1, 4)
        scores = {"relative_fid": 2.4 * float(np.exp(0.06 * spread[0]))}
        scores |= {
            name: SCORES[name] + 0.001 * z
            for name, z in zip(("recall", "label_accuracy", "cas"), spread[1:], strict=True)
        }
        runs.append(read_run(GATE, str(write_run(scratch / str(seed), {**(training or {}), "seed": seed}, **scores))))
    baseline = build_baseline(GATE, runs, "0" * 40, [], {"torch": "1.0"})
    (folder / "baseline.json").write_text(json.dumps(baseline.model_dump()))
