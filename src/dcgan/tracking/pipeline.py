"""What tracking has to know about a DVC pipeline. The project describes its own and passes it in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrackedStage:
    name: str  # in dvc.yaml
    sections: tuple[str, ...]  # of params.yaml; logged as parameters
    files: tuple[str, ...]  # glob patterns of the outputs to upload


@dataclass(frozen=True)
class ServedModel:
    """How MLflow serves the model: the code that it runs, and what a request is."""

    name: str  # of the registered model
    only_if: str  # parameter that must be true: a model without it cannot be asked for anything
    source: Path  # folder of the code, absolute
    entry: str  # the file that MLflow runs; relative to `source`
    code: tuple[str, ...]  # the files that it imports; relative to `source`
    weights: str  # the name under which the entry finds the weights
    signature: Mapping[str, str | None]  # of requests and answers, as MLflow writes it
    example: list[dict[str, Any]]  # requests
    packages: tuple[str, ...]  # that the code imports; the installed versions are the model's requirements


@dataclass(frozen=True)
class TrackedPipeline:
    """A pipeline that trains a model, perhaps samples from it, and evaluates it; paths relative to the workspace."""

    train: TrackedStage
    sample: TrackedStage | None  # None: the evaluation needs nothing but the model
    evaluate: TrackedStage

    model: Path  # written by `train`; its SHA-256 identifies the training
    curves: Path  # CSV written by `train`: a row per step, each column a series train/<column>
    curves_step: str  # the column that holds the step
    curves_ignored: tuple[str, ...]  # columns that are not series
    compared_curves: tuple[str, ...]  # columns that the comparison of runs shows first
    compared_params: tuple[str, ...]  # parameters that it draws next to the headline scores
    progress: Path  # folder of images made during training; their names end in the step (images-000064.png)
    dataset: Path  # the file whose SHA-256 identifies the training data
    dataset_name: str
    served: ServedModel | None  # None: the model cannot be served

    scores: Path  # JSON written by `evaluate`
    headline: tuple[str, ...]  # keys of it that MLflow shows first, as eval/<key>; other numbers are eval/details/<key>
    scores_ignored: tuple[str, ...]  # glob patterns of keys not to log
    protocol_tags: tuple[str, ...]  # keys of its object "protocol" that become tags protocol.<key>

    def score_series(self, key: str) -> str:
        """The name of a score in MLflow."""
        return f"eval/{key}" if key in self.headline else f"eval/details/{key}"

    @property
    def evaluation_stages(self) -> tuple[TrackedStage, ...]:
        """The stages between model and scores: their parameters tell one evaluation of a model from another."""
        return (self.evaluate,) if self.sample is None else (self.sample, self.evaluate)
