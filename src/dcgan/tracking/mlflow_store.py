"""Sends records to MLflow; the only module that imports it.

Sending is idempotent. A run is found again by its tag `dcgan.run_log`; a point goes out with the value, time and step
that the record holds, and MLflow keeps equal ones once; an image has a name made from record, key and step, a file its
path, so a second upload replaces the first. Live view, outage, resumed run, restored stage: all are `Store.publish`.
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
from dcgan.tracking.locations import read_sent, redact_password, sqlite_path, write_sent
from dcgan.tracking.run_log import FINAL, Event, RunLog

# MLflow's own defaults wait 245 s for a server that is gone; what cannot be sent now stays in the record
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

EXPERIMENT = "dcgan"
STORE_ERRORS = (MlflowException, OSError)  # what a store that is down or refuses raises; `requests` raises OSErrors
POINTS_A_CALL = 1000  # MLflow's limit for one log_batch; 100 for parameters and tags
THUMBNAIL_PIXELS = 256  # longer side of the copy that MLflow's image grid shows
IMAGE_NAME = re.compile(r"images/(?P<key>[^+]+)\+step\+(?P<step>-?\d+)\+timestamp\+\d+\+[^+]+\.png")

for chatty in ("mlflow", "alembic", "urllib3.connectionpool"):
    logging.getLogger(chatty).setLevel(logging.ERROR)


@dataclass
class Slice:
    """What is sent between two notes of progress: some points, or one image or file with what stands before it."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    artifacts: list[Event] = field(default_factory=list)
    datasets: list[Event] = field(default_factory=list)
    status: Event | None = None
    end: int = 0  # position in the record

    @property
    def is_full(self) -> bool:
        return len(self.metrics) >= POINTS_A_CALL or bool(self.artifacts)

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
    """An MLflow store and in it the experiment `dcgan`, which is created if it is not there."""

    def __init__(self, uri: str) -> None:
        """Connect.

        Raises:
            UserError: the experiment was deleted there, or the address is of no known kind.
            STORE_ERRORS: it does not answer.
        """
        self.uri = uri
        database = sqlite_path(uri)
        # Two processes that create a SQLite store at the same time spoil it for good
        with hold(f"{database}.lock", "opening the tracking store", wait=60) if database else nullcontext():
            self.client = MlflowClient(uri)
            self.experiment_id = self._experiment(database)

    def _experiment(self, database: Path | None) -> str:
        if (found := self.client.get_experiment_by_name(EXPERIMENT)) is None:
            # A local store's default is a folder under the current one, which goes with a queued experiment's folder
            location = str(database.parent / "mlartifacts") if database else None
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(EXPERIMENT)
        if found.lifecycle_stage != "active":
            raise UserError(
                f"experiment {EXPERIMENT!r} was deleted in {redact_password(self.uri)}; "
                f"bring it back: mlflow experiments restore -x {found.experiment_id}"
            )
        return found.experiment_id

    def publish(self, record: RunLog, wait: float = 30.0) -> int:
        """Send what the store does not have yet; returns how many bytes of events that was (0: nothing new).

        A child's parent is sent first. A run that was deleted in the store stays deleted.

        Raises:
            Taken: another process has been sending this record for longer than `wait` seconds.
            STORE_ERRORS: the store does not answer or refuses; what was sent stays, the rest can be sent later.
        """
        parent = None
        if record.parent:
            parent_record = RunLog.open(record.folder.parents[2], record.parent)
            self.publish(parent_record, wait)
            parent = self._find_run(parent_record)
        with hold(record.folder / "publishing.lock", f"sending record {record.id}", wait):
            known_run, sent = read_sent(record.folder, self.uri)
            run = self._find_run(record) or self._create_run(record, parent)
            if run.info.run_id != known_run or sent > record.size():
                sent = 0  # another store at the same address, or a record made anew
            start = sent
            if run.info.lifecycle_stage != "active":
                write_sent(record.folder, self.uri, run.info.run_id, record.size())
                return 0
            present = self._present(record, run) if record.size() > sent else None
            for part in _slices(record, sent):
                self._send(record, run, part, present)
                sent = part.end
                write_sent(record.folder, self.uri, run.info.run_id, sent)
            return sent - start

    # ---- runs ----

    def find_runs(self, filter_string: str) -> list[Run]:
        """Runs of the experiment, active ones first, among them the newest."""
        runs = self.client.search_runs([self.experiment_id], filter_string, ViewType.ALL)
        return sorted(runs, key=lambda run: (run.info.lifecycle_stage != "active", -run.info.start_time))

    def _find_run(self, record: RunLog) -> Run | None:
        """By the record's id. What DVC restored may have been told already by the clone that ran it: then by the
        model's hash, unless the run there has other scores."""
        if runs := self.find_runs(f"tags.`dcgan.run_log` = '{record.id}'"):
            return runs[0]
        if not record.is_restored:
            return None
        ours = record.tags.get("evaluation.settings")
        for run in self.find_runs(f"tags.`model.sha256` = '{record.tags['model.sha256']}'"):
            theirs, is_child = run.data.tags.get("evaluation.settings"), "mlflow.parentRunId" in run.data.tags
            if is_child == bool(record.parent) and (theirs == ours or (not is_child and None in (theirs, ours))):
                return run
        return None

    def _create_run(self, record: RunLog, parent: Run | None) -> Run:
        tags = {"dcgan.run_log": record.id}
        if parent:
            tags["mlflow.parentRunId"] = parent.info.run_id
        self.client.create_run(self.experiment_id, record.started, tags, record.name)
        # A request that was answered too late is sent again and makes a second run: keep one
        runs = [
            run
            for run in self.find_runs(f"tags.`dcgan.run_log` = '{record.id}'")
            if run.info.lifecycle_stage == "active"
        ]
        first, *twins = sorted(runs, key=lambda run: run.info.run_id)
        for twin in twins:
            self.client.delete_run(twin.info.run_id)
        return first

    def _present(self, record: RunLog, run: Run) -> set[tuple] | None:
        """What the run has of another record: the same points and images, but with other times; None: it is ours."""
        if run.data.tags.get("dcgan.run_log") == record.id:
            return None
        run_id = run.info.run_id
        points = {
            ("point", key, point.step)
            for key in run.data.metrics
            for point in self.client.get_metric_history(run_id, key)
        }
        return points | self.images(run_id) | {("param", key) for key in run.data.params}

    def images(self, run_id: str) -> set[tuple]:
        """("image", key, step) of every image that the run's slider shows."""
        names = (IMAGE_NAME.fullmatch(item.path) for item in self.client.list_artifacts(run_id, "images"))
        return {("image", name["key"].replace("~", "/"), int(name["step"])) for name in names if name}

    # ---- sending ----

    def _send(self, record: RunLog, run: Run, part: Slice, present: set[tuple] | None) -> None:
        """Send one slice; `present` is what a run of another record has: it is left as it is there, its origin too."""
        run_id, had = run.info.run_id, present or set()
        ours = ("evaluation.", "protocol.") if present is not None else ("",)
        tags = [RunTag(key, value) for key, value in part.tags.items() if key.startswith(ours)]
        points = [point for point in part.metrics if ("point", point.key, point.step) not in had]
        params = [Param(key, value) for key, value in part.params.items() if ("param", key) not in had]
        for some in _chunks(params, 100):
            self.client.log_batch(run_id, params=some)
        for some in _chunks(tags, 100):
            self.client.log_batch(run_id, tags=some)
        for some in _chunks(points, POINTS_A_CALL):
            self.client.log_batch(run_id, metrics=some)
        for event in part.datasets:
            self.client.log_inputs(run_id, datasets=[_dataset(event)])
        for event in part.artifacts:
            if event["event"] == "file":
                self.client.log_artifact(run_id, str(record.folder / event["file"]), event["folder"] or None)
            elif ("image", event["key"], event["step"]) not in had:
                self._send_image(record, run_id, event)
        if part.status and present is None:
            self.set_status(run_id, part.status["status"], part.status["time"])

    def set_status(self, run_id: str, status: str, ended: int) -> None:
        if status in FINAL:
            with redirect_stdout(io.StringIO()):  # it advertises an address there
                self.client.set_terminated(run_id, status, ended)
        else:
            self.client.update_run(run_id, status=status)

    def _send_image(self, record: RunLog, run_id: str, event: Event) -> None:
        """As `MlflowClient.log_image` of 3.17 names its files, but the same name at every try."""
        key, step = event["key"], event["step"]
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{event['time']}"
        name = f"{name}+{uuid.uuid5(uuid.NAMESPACE_OID, f'{record.id} {key} {step}')}"
        source = record.folder / event["file"]
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


def _slices(record: RunLog, start: int) -> Iterator[Slice]:
    part = Slice(end=start)
    for event, end in record.events(start):
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
