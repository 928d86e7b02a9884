"""The model server as `dcgan.tracking` needs to know it: which code goes with a model, and what a request is."""

import json
from pathlib import Path

from dcgan.tracking.pipeline import ServedModel

FIELDS = {"digits": "string", "seed": "long", "count": "long", "format": "string"}
REQUEST = {
    "type": "object",
    "properties": {name: {"type": kind, "required": name == "digits"} for name, kind in sorted(FIELDS.items())},
    "required": True,
}

SERVED = ServedModel(
    name="dcgan",
    only_if="model.conditional",
    source=Path(__file__).parents[2],
    entry="dcgan/serving/mlflow_model.py",
    code=(
        "dcgan/__init__.py",
        "dcgan/constants.py",
        "dcgan/gan/__init__.py",
        "dcgan/gan/model_files.py",
        "dcgan/gan/networks.py",
        "dcgan/gan/rendering.py",
        "dcgan/gan/rng.py",
        "dcgan/gan/sampling.py",
        "dcgan/images.py",
        "dcgan/serving/__init__.py",
        "dcgan/serving/drawing.py",
        "dcgan/serving/requests.py",
        "dcgan/support/__init__.py",
        "dcgan/support/errors.py",
        "dcgan/support/files.py",
    ),
    weights="generator",
    signature={
        "inputs": json.dumps([REQUEST]),
        "outputs": json.dumps([{"type": "any", "required": True}]),
        "params": None,
    },
    example=[{"digits": "2026", "seed": 7}],
    packages=("mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch"),
)
