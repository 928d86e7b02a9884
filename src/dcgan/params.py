"""The typed schema of params.yaml: every key, its type and its range. It has no defaults.

Nothing here imports torch, so that a mistake in params.yaml is reported at once.
"""

import difflib
import os
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from dcgan.constants import CLASSES, STD_GROUP
from dcgan.support.errors import UserError
from dcgan.support.files import parse_yaml, read_yaml

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1)]
MAX_CLUSTERS = 2000  # over all classes


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    def whole_number(cls, value: object, info: ValidationInfo) -> object:
        """1e6 is a float in YAML, but means an integer where one is expected."""
        expected = cls.model_fields[info.field_name].annotation
        return int(value) if expected is int and isinstance(value, float) and value.is_integer() else value


class DownloadParams(Section):
    mirror: str | None

    @field_validator("mirror")
    def mirror_is_a_folder(cls, mirror: str | None) -> str | None:
        scheme, separator, rest = (mirror or "").partition("://")
        local = not separator or (scheme == "file" and rest.startswith(("/", "localhost/")))
        if mirror == "" or not local:
            raise ValueError(
                f"download.mirror is {mirror!r}, but must be a local folder, a file:///absolute/folder URL, "
                "or null to use the public sources only"
            )
        return mirror


class ModelParams(Section):
    conditional: bool
    clusters_per_class: Annotated[int, Field(ge=1, le=MAX_CLUSTERS)]
    canvas: bool
    latent_size: Annotated[int, Field(ge=3, le=4096)]
    generator_width: Annotated[int, Field(ge=1, le=1024)]
    discriminator_width: Annotated[int, Field(ge=1, le=1024)]
    discriminator_norm: Literal["none", "batch"]
    minibatch_std: bool

    @model_validator(mode="after")
    def clusters_fit(self) -> "ModelParams":
        if self.clusters > MAX_CLUSTERS:
            raise ValueError(
                f"model.clusters_per_class is {self.clusters_per_class}, but must be at most {MAX_CLUSTERS // CLASSES} "
                f"while model.conditional is true: each of the {CLASSES} digits is a class; lower it, or set "
                "model.conditional: false"
            )
        return self

    @property
    def clusters(self) -> int:
        """Number of clusters over all classes: each digit is a class if conditional, else all digits form one."""
        return self.clusters_per_class * (CLASSES if self.conditional else 1)


class TrainParams(Section):
    seed: Seed
    images: Count
    batch_size: Annotated[int, Field(ge=2, le=8192)]
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    decay_from: Annotated[float, Field(ge=0, le=1)]
    r1_gamma: Annotated[float, Field(ge=0)]
    r1_every: Count
    ema_half_life: Annotated[float, Field(ge=0)]
    precision: Literal["auto", "bf16", "fp32"]
    workers: Annotated[int, Field(ge=1, le=64)]
    snapshots: Annotated[int, Field(ge=2, le=1000)]

    @model_validator(mode="after")
    def batch_fits(self) -> "TrainParams":
        if self.batch_size % self.workers:
            raise ValueError(
                f"train.batch_size ({self.batch_size}) must be a multiple of train.workers ({self.workers}): "
                "every worker gets an equal shard of the batch; change one of them"
            )
        if self.images < self.batch_size:
            raise ValueError(
                f"train.images ({self.images}) is less than train.batch_size ({self.batch_size}), which leaves no "
                "training step; raise train.images"
            )
        return self


class SampleParams(Section):
    seed: Seed
    count: Annotated[int, Field(ge=10, le=1_000_000)]
    class_mix: Literal["mnist", "balanced"]
    threads: Annotated[int, Field(ge=1, le=64)]


class EvaluateParams(Section):
    seed: Seed
    images: Annotated[int, Field(ge=100, le=10_000)]
    inception: bool


class Params(Section):
    download: DownloadParams
    model: ModelParams
    train: TrainParams
    sample: SampleParams
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def sections_fit(self) -> "Params":
        shard = self.train.batch_size // self.train.workers
        if self.model.minibatch_std and shard % STD_GROUP:
            raise ValueError(
                f"model.minibatch_std compares groups of {STD_GROUP} images, but a worker's shard of the batch has "
                f"{shard} (train.batch_size / train.workers); make that a multiple of {STD_GROUP}, or set "
                "model.minibatch_std: false"
            )
        if self.sample.count < 2 * self.evaluate.images:
            raise ValueError(
                f"sample.count ({self.sample.count}) must be at least twice evaluate.images ({self.evaluate.images}): "
                "the classifier of the two-sample test trains on as many other digits; raise one or lower the other"
            )
        return self


def load_params(path: str | os.PathLike = "params.yaml", settings: Sequence[str] = ()) -> Params:
    """Read and check all of params.yaml.

    Args:
        settings: NAME=VALUE, as for `dvc exp run -S`: replace what the file has.

    Raises:
        UserError: missing, empty or unreadable file, unknown key (with the nearest known one), missing key, wrong type,
            value out of range, or values that do not fit together. One line lists all problems.
    """
    raw = read_yaml(path)
    if raw is None:
        raise UserError(f"{path} is empty, but every key is required; restore it: git checkout params.yaml")
    if not isinstance(raw, dict):
        raise UserError(
            f"{path} is a {type(raw).__name__}, but must be the sections {', '.join(Params.model_fields)}; "
            "restore it: git checkout params.yaml"
        )
    for setting in settings:
        _apply(raw, setting)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        where = f"{path} with {' '.join(settings)}" if settings else path
        raise UserError(f"{where}: {'; '.join(_explain(error.errors()))}") from error


def _apply(raw: dict, setting: str) -> None:
    name, _, text = setting.partition("=")
    *sections, key = name.split(".")
    for section in sections:
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise UserError(f"-S {setting}: {section} is not a section of params.yaml; give SECTION.KEY=VALUE")
    raw[key] = parse_yaml(text, f"-S {setting}")


def _explain(problems: list[dict]) -> list[str]:
    """pydantic's errors as clauses: key, value, what is allowed. All missing keys are one clause."""
    missing = [_key(problem) for problem in problems if problem["type"] == "missing"]
    clauses = [_clause(problem) for problem in problems if problem["type"] != "missing"]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        clauses.append(f"{', '.join(missing)} {verb} missing; every key is required, see the committed params.yaml")
    return clauses


def _clause(problem: dict) -> str:
    match problem["type"]:
        case "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known keys: {', '.join(known)}"
            return f"unknown key {_key(problem)}; {hint}"
        case "value_error":
            return str(problem["ctx"]["error"])
        case _:
            return f"{_key(problem)} is {_shorten(problem['input'])}, but {problem['msg'].removeprefix('Input ')}"


def _key(problem: dict) -> str:
    return " ".join(".".join(map(str, problem["loc"])).split())


def _shorten(value: object) -> str:
    """A value as it is shown in a message: pasting a page of text into a parameter should not print a page."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known_keys(location: tuple) -> list[str]:
    section: type[BaseModel] = Params
    for part in location:
        section = section.model_fields[part].annotation
    return list(section.model_fields)
