"""Sends run logs to MLflow; the only module that imports it.

Sending is idempotent. A run is found again by its tag `dcgan.run_log`; a point is sent with the value, time and step in
the run log, and MLflow stores equal ones once; an image gets a name made from run log, series and step, a file its
path, so that a second upload replaces the first. Live view, outage, resumed run, stage restored from DVC's cache: all
of them are `Store.publish`.
"""

import io
import json
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from dcgan.support.errors import UserError
from dcgan.support.lock import hold
from dcgan.tracking.events import Event, Key
from dcgan.tracking.locations import read_sent, redact_password, sqlite_path, write_sent
from dcgan.tracking.names import EXPERIMENT, RUN_LOG_TAG
from dcgan.tracking.run_log import FINAL, RunLog

# MLflow's own defaults wait 245 s for a server that is gone; what cannot be sent now stays in the run log
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

STORE_ERRORS = (MlflowException, OSError)  # a store that is down or refuses raises these; `requests` raises OSErrors
POINTS_PER_CALL = 1000  # MLflow's limit for one log_batch
PARAMS_OR_TAGS_PER_CALL = 100  # the same
THUMBNAIL_PIXELS = 256  # longer side of the copy that MLflow's image grid shows
IMAGE_NAME = re.compile(r"images/(?P<key>[^+]+)\+step\+(?P<step>-?\d+)\+timestamp\+\d+\+[^+]+\.png")

for chatty in ("mlflow", "alembic", "urllib3.connectionpool"):
    logging.getLogger(chatty).setLevel(logging.ERROR)


@dataclass
class Slice:
    """What is sent before progress is saved: some points, or one image or file with the events before it."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    artifacts: list[Event] = field(default_factory=list)
    datasets: list[Event] = field(default_factory=list)
    status: Event | None = None
    end: int = 0  # position in the run log

    @property
    def is_full(self) -> bool:
        return len(self.metrics) >= POINTS_PER_CALL or bool(self.artifacts)

    def add(self, event: Event, end: int) -> None:
        self.end = end
        match event["event"]:
            case "params":
                self.params |= event["values"]
            case "tags":
                self.tags |= event["values"]
            case "points":
                time, step = event["time"], event["step"]
                self.metrics += [Metric(key, float(value), time, step) for key, value in event["values"].items()]
            case "image" | "file":
                self.artifacts.append(event)
            case "dataset":
                self.datasets.append(event)
            case "status":
                self.status = event


class Store:
    """An MLflow store and in it this project's experiment, which is created if it does not exist."""

    def __init__(self, uri: str) -> None:
        """Connect.

        Raises:
            UserError: the experiment was deleted there.
            STORE_ERRORS: the store does not answer, or the address has an unknown scheme.
        """
        self.uri = uri
        database = sqlite_path(uri)
        # Two processes that create a SQLite store at the same time corrupt it for good
        with hold(f"{database}.lock", "opening the tracking store", wait=60) if database else nullcontext():
            self.client = MlflowClient(uri)
            self.experiment_id = self._find_or_create_experiment(database)

    def _find_or_create_experiment(self, database: Path | None) -> str:
        if (experiment := self.client.get_experiment_by_name(EXPERIMENT)) is None:
            # The default of a local store is in the current folder, which for a queued experiment gets deleted
            location = str(database.parent / "mlartifacts") if database else None
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"experiment {EXPERIMENT!r} was deleted in {redact_password(self.uri)}; "
                f"restore it: mlflow experiments restore -x {experiment.experiment_id}"
            )
        return experiment.experiment_id

    def publish(self, run_log: RunLog, wait: float = 30.0) -> int:
        """Send what the store does not have yet; returns how many bytes of events that was (0: nothing new).

        A child's parent is sent first. A run that was deleted in the store stays deleted.

        Raises:
            Taken: another process has been sending this run log for longer than `wait` seconds.
            STORE_ERRORS: the store does not answer or refuses; what was sent stays, the rest can be sent later.
        """
        parent = self._publish_parent(run_log, wait)
        with hold(run_log.folder / "publishing.lock", f"sending run log {run_log.id}", wait):
            known_run_id, sent = read_sent(run_log.folder, self.uri)
            run = self._find_run(run_log) or self._create_run(run_log, parent)
            if run.info.run_id != known_run_id or sent > run_log.size():
                sent = 0  # another store at the same address, or a run log that was made again
            if run.info.lifecycle_stage != "active":
                write_sent(run_log.folder, self.uri, run.info.run_id, run_log.size())
                return 0
            return self._send_from(run_log, run, sent)

    def _publish_parent(self, run_log: RunLog, wait: float) -> Run | None:
        if not run_log.parent:
            return None
        parent = RunLog.open(run_log.folder.parents[2], run_log.parent)
        self.publish(parent, wait)
        return self._find_run(parent)

    # ---- runs ----

    def find_runs(self, filter_string: str) -> list[Run]:
        """Runs of the experiment, active ones first, among them the newest."""
        runs = self.client.search_runs([self.experiment_id], filter_string, ViewType.ALL)
        return sorted(runs, key=lambda run: (run.info.lifecycle_stage != "active", -run.info.start_time))

    def set_status(self, run_id: str, status: str, ended: int) -> None:
        """`ended`: ms since 1970; ignored unless the status is final."""
        if status in FINAL:
            with redirect_stdout(io.StringIO()):  # MLflow prints the run's address
                self.client.set_terminated(run_id, status, ended)
        else:
            self.client.update_run(run_id, status=status)

    def _find_run(self, run_log: RunLog) -> Run | None:
        """By the run log's id. The clone that trained a model which DVC restored here may have sent it already: then
        by the model's hash, unless that run has other scores."""
        if runs := self.find_runs(f"tags.`{RUN_LOG_TAG}` = '{run_log.id}'"):
            return runs[0]
        if not run_log.is_restored:
            return None
        settings = run_log.tags.get("evaluation.settings")
        for run in self.find_runs(f"tags.`model.sha256` = '{run_log.tags['model.sha256']}'"):
            its_settings, is_child = run.data.tags.get("evaluation.settings"), "mlflow.parentRunId" in run.data.tags
            is_unevaluated = not is_child and None in (its_settings, settings)
            if is_child == bool(run_log.parent) and (its_settings == settings or is_unevaluated):
                return run
        return None

    def _create_run(self, run_log: RunLog, parent: Run | None) -> Run:
        tags = {RUN_LOG_TAG: run_log.id}
        if parent:
            tags["mlflow.parentRunId"] = parent.info.run_id
        self.client.create_run(self.experiment_id, run_log.started, tags, run_log.name)
        # A request whose answer came too late is repeated and creates a twin: keep one of them
        runs = self.find_runs(f"tags.`{RUN_LOG_TAG}` = '{run_log.id}'")
        active = [run for run in runs if run.info.lifecycle_stage == "active"]
        first, *twins = sorted(active, key=lambda run: run.info.run_id)
        for twin in twins:
            self.client.delete_run(twin.info.run_id)
        return first

    def _logged_elsewhere(self, run_log: RunLog, run: Run) -> set[Key] | None:
        """Keys of what the run has from another clone's run log: the same points and images, but with other times.
        None if the run was made from this run log."""
        if run.data.tags.get(RUN_LOG_TAG) == run_log.id:
            return None
        run_id = run.info.run_id
        points = {
            ("point", key, point.step)
            for key in run.data.metrics
            for point in self.client.get_metric_history(run_id, key)
        }
        return points | self.images(run_id) | {("param", key) for key in run.data.params}

    def images(self, run_id: str) -> set[Key]:
        """("image", series, step) of every image that the run's slider shows."""
        names = (IMAGE_NAME.fullmatch(item.path) for item in self.client.list_artifacts(run_id, "images"))
        return {("image", name["key"].replace("~", "/"), int(name["step"])) for name in names if name}

    # ---- sending ----

    def _send_from(self, run_log: RunLog, run: Run, start: int) -> int:
        """Send the events from byte `start` on, saving progress after each slice; returns the number of bytes."""
        sent = start
        elsewhere = self._logged_elsewhere(run_log, run) if run_log.size() > start else None
        for part in _slices(run_log, start):
            self._send_slice(run_log, run, part, elsewhere)
            sent = part.end
            write_sent(run_log.folder, self.uri, run.info.run_id, sent)
        return sent - start

    def _send_slice(self, run_log: RunLog, run: Run, part: Slice, elsewhere: set[Key] | None) -> None:
        """Send one slice. A run made from another clone's run log keeps its own values, tags of origin and status."""
        run_id, existing = run.info.run_id, elsewhere or set()
        wanted_tags = ("",) if elsewhere is None else ("evaluation.", "protocol.")
        params = [Param(key, value) for key, value in part.params.items() if ("param", key) not in existing]
        tags = [RunTag(key, value) for key, value in part.tags.items() if key.startswith(wanted_tags)]
        points = [point for point in part.metrics if ("point", point.key, point.step) not in existing]
        for chunk in _chunks(params, PARAMS_OR_TAGS_PER_CALL):
            self.client.log_batch(run_id, params=chunk)
        for chunk in _chunks(tags, PARAMS_OR_TAGS_PER_CALL):
            self.client.log_batch(run_id, tags=chunk)
        for chunk in _chunks(points, POINTS_PER_CALL):
            self.client.log_batch(run_id, metrics=chunk)
        for event in part.datasets:
            self.client.log_inputs(run_id, datasets=[_dataset(event)])
        for event in part.artifacts:
            if event["event"] == "file":
                self.client.log_artifact(run_id, str(run_log.folder / event["file"]), event["folder"] or None)
            elif ("image", event["key"], event["step"]) not in existing:
                self._send_image(run_log, run_id, event)
        if part.status and elsewhere is None:
            self.set_status(run_id, part.status["status"], part.status["time"])

    def _send_image(self, run_log: RunLog, run_id: str, event: Event) -> None:
        """As `MlflowClient.log_image` of MLflow 3.17 names its files, but with the same name at every attempt."""
        key, step = event["key"], event["step"]
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{event['time']}"
        name = f"{name}+{uuid.uuid5(uuid.NAMESPACE_OID, f'{run_log.id} {key} {step}')}"
        source = run_log.folder / event["file"]
        with tempfile.TemporaryDirectory() as folder:
            thumbnail = Path(folder) / f"{name}+compressed.webp"
            with Image.open(source) as image:
                small = image.convert("RGB")
                small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
                small.save(thumbnail)
            self.client.log_artifact(run_id, str(thumbnail), "images")
            full = Path(folder) / f"{name}.png"
            shutil.copyfile(source, full)
            self.client.log_artifact(run_id, str(full), "images")
        self.client.set_tag(run_id, "mlflow.loggedImages", "True")


def _slices(run_log: RunLog, start: int) -> Iterator[Slice]:
    part = Slice(end=start)
    for event, end in run_log.events(start):
        part.add(event, end)
        if part.is_full:
            yield part
            part = Slice(end=end)
    if part.end > start and part != Slice(end=part.end):
        yield part


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _dataset(event: Event) -> DatasetInput:
    dataset = Dataset(event["name"], event["digest"], "local", json.dumps({"uri": event["source"]}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])
