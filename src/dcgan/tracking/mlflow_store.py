"""Sends run logs to MLflow. Only this module, and `mlflow_runs`, `mlflow_models` and `mlflow_slices` for it, import
MLflow.

Sending is idempotent. A run is found again by its tag `dcgan.run_log`; a point is sent with the value, time and step in
the run log, and MLflow stores equal ones once; an image gets a name made from run, series and step, a file its path, so
that a second upload replaces the first; a model is registered once for each hash of weights. Live view, outage, resumed
run, stage restored from DVC's cache: all of them are `Store.publish`.
"""

import itertools
import json
import logging
import os
import re
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from dcgan.support.errors import UserError
from dcgan.support.files import hard_link
from dcgan.support.lock import Taken, hold
from dcgan.tracking.comparison import VIEW_TAG, comparison_view
from dcgan.tracking.events import Event, Key
from dcgan.tracking.locations import experiment_name, redact_password, sqlite_path, summarize_error
from dcgan.tracking.names import PROMOTE_COMMAND, RUN_LOG_TAG, SWEEP_TAG
from dcgan.tracking.pipeline import TrackedPipeline
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import Unanswered, read_sent, write_sent
from dcgan.tracking.sqlite_store import ensure_whole

# MLflow's own defaults wait 245 s for a server that is gone; what cannot be sent now stays in the run log
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from dcgan.tracking.mlflow_models import Models
from dcgan.tracking.mlflow_runs import Runs, is_restored, is_twin
from dcgan.tracking.mlflow_slices import PARAMS_OR_TAGS_PER_CALL, POINTS_PER_CALL, Slice, slices

# Raised by a store that is down, locked or damaged or refuses; `requests` raises OSErrors, a missing driver ImportError
STORE_ERRORS = (MlflowException, OSError, SQLAlchemyError, CommandError, sqlite3.Error, ImportError)
COLLISION = "BAD_REQUEST"  # error code when two clones send the same parameter or tag to one run at the same moment
MOST_COLLISIONS = 5
REFUSED = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED")  # error codes about one run log
REGISTRY_REFUSED = (*REFUSED, "ENDPOINT_NOT_FOUND", "NOT_FOUND", "FEATURE_DISABLED")  # MLflow 2 has no logged models
THUMBNAIL_PIXELS = 256  # longer side of the copy that MLflow's image grid shows
IMAGE_NAME = re.compile(r"images/(?P<key>[^+]+)\+step\+(?P<step>-?\d+)\+timestamp\+\d+\+[^+]+\.png")

for chatty in ("mlflow", "alembic", "urllib3.connectionpool", "sqlalchemy"):
    logging.getLogger(chatty).setLevel(logging.CRITICAL)  # an error is raised as well, and reported without a traceback


class Store:
    """An MLflow store and in it the experiment for this project's runs, which is created if it does not exist."""

    def __init__(self, uri: str) -> None:
        """Connect.

        Raises:
            UserError: the experiment was deleted there, or the file of a SQLite store is something else.
            STORE_ERRORS: the store does not answer, or the address has an unknown scheme.
        """
        self.uri = uri
        database = sqlite_path(uri)
        # Two processes that create a SQLite store at the same time corrupt it for good
        with hold(f"{database}.lock", "opening the tracking store", wait=60) if database else nullcontext():
            if database:
                _check_path(uri, database)
                ensure_whole(database, _create_sqlite_store)
            self.client = MlflowClient(uri)
            self.experiment_id = self._find_or_create_experiment(database)
        self.runs = Runs(self.client, self.experiment_id, uri)
        self.models = Models(self.client, uri)

    def _find_or_create_experiment(self, database: Path | None) -> str:
        name = experiment_name()
        if (experiment := self.client.get_experiment_by_name(name)) is None:
            try:
                return self.client.create_experiment(name, artifact_location=_artifacts(database) if database else None)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = self.client.get_experiment_by_name(name)
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"experiment {name!r} was deleted in {redact_password(self.uri)}; "
                f"restore it: mlflow experiments restore -x {experiment.experiment_id}"
            )
        return experiment.experiment_id

    def save_comparison(self, pipeline: TrackedPipeline) -> None:
        """Save the layout of the page that compares runs, unless the experiment has it."""
        experiment = self.client.get_experiment(self.experiment_id)
        view = comparison_view(pipeline, experiment.creation_time)
        if experiment.tags.get(VIEW_TAG) != view:  # who may only look at runs may not set it
            self.client.set_experiment_tag(self.experiment_id, VIEW_TAG, view)

    def publish(self, run_log: RunLog, wait: float = 60.0) -> int:
        """Send what the store does not have yet; returns how many bytes of events that was (0: nothing new).

        A child's parent is sent first. A run that was deleted in the store stays deleted.

        Raises:
            Taken: another process has been sending this run log for longer than `wait` seconds.
            Unanswered: a server has not answered a request to create the run for that long.
            UserError: the store accepts other run logs but not this one, or a file of the run log is missing.
            STORE_ERRORS: the store does not answer or refuses; what was sent stays, the rest can be sent later.
        """
        return self._publish(run_log, wait)[1]

    def register(self, run_log: RunLog, name: str, wait: float = 60.0) -> ModelVersion:
        """Send the run log; returns the version of its model in the registry.

        Raises:
            UserError: it has no model of that name, or its run was deleted.
            Taken, Unanswered, STORE_ERRORS: as `publish`.
        """
        run, _ = self._publish(run_log, wait)
        if (event := run_log.model(name)) is None:
            raise UserError(f"the model of run log {run_log.id} cannot be served; train a conditional one")
        if run.info.lifecycle_stage != "active":
            raise UserError(
                f"the run of this model was deleted in {redact_password(self.uri)}; "
                f"restore it: mlflow runs restore --run-id {run.info.run_id}"
            )
        with hold(run_log.folder / "publishing.lock", f"sending run log {run_log.id}", wait):
            return self.models.register(run_log, run, event)

    def _publish(self, run_log: RunLog, wait: float) -> tuple[Run, int]:
        parent = self._publish_parent(run_log, wait)
        with hold(run_log.folder / "publishing.lock", f"sending run log {run_log.id}", wait):
            for attempt in itertools.count():
                run = None
                try:
                    run = self.runs.find_or_create(run_log, parent, wait)
                    if parent:
                        self.runs.set_parent(run, parent)
                    return run, self._send(run_log, run)
                except MlflowException as error:
                    if run and is_twin(self.client.get_run(run.info.run_id)):
                        continue  # another clone has just closed it: send to the run that is kept
                    if error.error_code == COLLISION and attempt < MOST_COLLISIONS:
                        continue
                    self._raise_if_refused(run_log, error)
                    raise

    def _publish_parent(self, run_log: RunLog, wait: float) -> Run | None:
        """The run of the parent; None if there is neither a readable run log nor a run, which does not stop a child."""
        parent_id = run_log.parent or run_log.tags.get(SWEEP_TAG)
        if not parent_id:
            return None
        try:
            parent = RunLog.open(run_log.root, parent_id)
            return self._publish(parent, wait)[0] if not parent.parent else None  # never deeper, unless made by hand
        except (Taken, Unanswered):
            raise
        except UserError:  # reported where the parent is sent for its own sake
            return self.runs.look_up(parent_id)

    def _raise_if_refused(self, run_log: RunLog, error: MlflowException) -> None:
        if error.error_code in REFUSED:
            raise UserError(
                f"the store {redact_password(self.uri)} refuses run log {run_log.id} ({summarize_error(error)}); "
                f"it stays in {run_log.folder}"
            ) from error

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

    def _send(self, run_log: RunLog, run: Run) -> int:
        """Send what is new, saving progress after each slice; returns the number of bytes."""
        sent = read_sent(run_log.folder, self.uri)
        if run.info.run_id != sent.run_id:
            sent = replace(sent, run_id=run.info.run_id, size=0)  # another store at the same address, or a closed twin
        if run.info.lifecycle_stage != "active":
            write_sent(run_log.folder, self.uri, replace(sent, size=run_log.size()))
            return 0
        start = sent.size
        elsewhere = self._logged_elsewhere(run_log, run) if run_log.size() > start else None
        # Clones that send the same restored model to one run log its points at different times: the run's own is common
        time = run.info.start_time if run_log.is_restored else None
        for part in slices(run_log, start, time):
            self._send_slice(run_log, run, part, elsewhere)
            sent = replace(sent, size=part.end)
            write_sent(run_log.folder, self.uri, sent)
        return sent.size - start

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
                source = run_log.copied_file(event["file"])
                self._upload(run, source, Path(event["folder"]) / source.name)
            elif event["event"] == "model":
                self._register(run_log, run, event)
            elif ("image", event["key"], event["step"]) not in existing:
                self._send_image(run_log, run, event)
        if part.status and (elsewhere is None or is_restored(run)):
            self.runs.set_status(run_id, part.status["status"], part.status["time"])

    def _register(self, run_log: RunLog, run: Run, event: Event) -> None:
        """A registry that refuses the model, for lack of permission say, does not hold up the scores that follow."""
        try:
            self.models.register(run_log, run, event)
        except MlflowException as error:
            if error.error_code not in REGISTRY_REFUSED:
                raise
            print(
                f"tracking: {redact_password(self.uri)} does not register the model of run log {run_log.id} "
                f"({summarize_error(error)}); the rest of the run is sent; `{PROMOTE_COMMAND}` tries again",
                file=sys.stderr,
            )

    def _send_image(self, run_log: RunLog, run: Run, event: Event) -> None:
        """As `MlflowClient.log_image` of MLflow 3.17 names its files, but with the same name at every attempt."""
        run_id, key, step = run.info.run_id, event["key"], event["step"]
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{event['time']}"
        name = f"{name}+{uuid.uuid5(uuid.NAMESPACE_OID, f'{run_id} {key} {step}')}"
        source = run_log.copied_file(event["file"])
        with tempfile.TemporaryDirectory() as folder:
            thumbnail = Path(folder) / f"{name}+compressed.webp"
            _thumbnail(source).save(thumbnail)
            self.client.log_artifact(run_id, str(thumbnail), "images")
        self._upload(run, source, Path("images") / f"{name}.png")
        self.client.set_tag(run_id, "mlflow.loggedImages", "True")

    def _upload(self, run: Run, source: Path, path: Path) -> None:
        """Store a file of a run log as the artifact `path`: as a hard link if artifacts are kept on this file system.
        Run log and store then share one file, which neither of them writes to."""
        if is_local_uri(run.info.artifact_uri):
            with suppress(OSError):  # another file system
                hard_link(source, Path(local_file_uri_to_path(run.info.artifact_uri)) / path)
                return
        with tempfile.TemporaryDirectory() as folder:
            named = Path(folder) / path.name
            named.symlink_to(source.resolve())
            self.client.log_artifact(run.info.run_id, str(named), None if path.parent == Path() else str(path.parent))


def open_models(uri: str) -> Models:
    """The models of a store, for whoever only reads them: nothing is created.

    Raises:
        UserError: a SQLite store that does not exist.
    """
    database = sqlite_path(uri)
    if database and not database.exists():
        raise UserError(f"there is no tracking store {database}; set MLFLOW_TRACKING_URI to the one with the model")
    return Models(MlflowClient(uri), uri)


def _check_path(uri: str, database: Path) -> None:
    if make_url(uri).database != str(database):
        raise UserError(
            f"the path {str(database)!r} of the tracking store has a '%' or '?', which needs SQLAlchemy 2.1; install "
            "it, move the repository, or set MLFLOW_TRACKING_URI"
        )


def _artifacts(database: Path) -> str:
    """Where a local store keeps artifacts. The default is in the current folder, which for a queued experiment gets
    deleted; and MLflow takes a "?", "#" or "%20" in a plain path for parts of an address."""
    return (database.absolute().parent / "mlartifacts").as_uri()


def _create_sqlite_store(path: Path) -> None:
    """Built in memory: MLflow makes hundreds of small changes, which take ten seconds on a busy disk."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore("sqlite:///:memory:", _artifacts(path))
    store.create_experiment(experiment_name(), artifact_location=_artifacts(path))
    with store.engine.connect() as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(path),))
    store.engine.dispose()


def _thumbnail(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"the logged image {path} cannot be read ({error}); move its run log away") from error
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return small


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _dataset(event: Event) -> DatasetInput:
    dataset = Dataset(event["name"], event["digest"], "local", json.dumps({"uri": event["source"]}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])
