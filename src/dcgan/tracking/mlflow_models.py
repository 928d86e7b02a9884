"""Models in MLflow: the files that it serves, and the versions in its registry.

A model is registered once, whoever sends it and however often: its version has the hash of its weights as a tag. MLflow
cannot create a version only if there is none, so two clones may create two at the same moment. Each of them then looks
again, and deletes all but the first; a user who may not delete tags them, as for runs.
"""

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.version import VERSION

from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic
from dcgan.tracking.events import Event
from dcgan.tracking.locations import clone_id, redact_password
from dcgan.tracking.mlflow_runs import one_long_request
from dcgan.tracking.names import CLONE_TAG, MODEL_ID_TAG, PROMOTE_COMMAND, RUN_LOG_TAG, TWIN_TAG
from dcgan.tracking.run_log import RunLog

DIGEST_TAG = "model.sha256"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


class Models:
    """The models of one experiment and of the registry beside it."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self.client, self.uri = client, uri

    def register(self, run_log: RunLog, run: Run, event: Event) -> ModelVersion:
        """The version of the model in `event`; logged, registered and linked to the run as far as it is not yet.

        Call it under the lock of the run log.
        """
        name, digest = event["name"], event["sha256"]
        logged = self._logged_by(run_log, run, digest)
        version = self.find(name, digest)
        if version is None:
            model = self._log(run_log, run, event, logged)
            self._create_version(event, run, model)
            version = self.find(name, digest)
        model_id = version.tags[MODEL_ID_TAG]
        for leftover in logged:  # of an attempt that was killed, while another clone registered the model
            if leftover.model_id != model_id:
                with _unless_gone(), _unless_forbidden():
                    self.client.delete_logged_model(leftover.model_id)
        outputs = self.client.get_run(run.info.run_id).outputs
        if model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
            self.client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, 0)])  # MLflow links a run's page so
        return version

    def find(self, name: str, digest: str) -> ModelVersion | None:
        """The version with that hash. Twins, which two clones made at the same moment, are deleted: their numbers
        ascend, so that all clones keep the same one."""
        found = self.client.search_model_versions(f"name = '{name}' AND tags.`{DIGEST_TAG}` = '{digest}'")
        versions = sorted(found, key=lambda version: int(version.version))
        for twin in versions[1:]:
            self._close_twin(twin, versions[0])
        return versions[0] if versions else None

    def _close_twin(self, twin: ModelVersion, kept: ModelVersion) -> None:
        """Delete it; not every user may, so it is tagged first."""
        with _unless_gone():
            if TWIN_TAG not in twin.tags:
                self.client.set_model_version_tag(twin.name, twin.version, TWIN_TAG, kept.version)
            with _unless_forbidden():
                self.client.delete_model_version(twin.name, twin.version)
        with _unless_gone(), _unless_forbidden():
            self.client.delete_logged_model(twin.tags[MODEL_ID_TAG])

    def promote(self, version: ModelVersion, alias: str) -> str | None:
        """Set the alias; returns the number of the version that had it before."""
        try:
            before = self.client.get_model_version_by_alias(version.name, alias).version
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            before = None
        self.client.set_registered_model_alias(version.name, alias, version.version)
        return None if before is None else str(before)

    def download(self, model_uri: str, place: str, folder: Path) -> Path:
        """The weights of a registered model, as `<SHA-256>.safetensors` or the like in `folder`; nothing is fetched if
        they are there. No code of the model is run.

        Args:
            model_uri: "models:/NAME@ALIAS" or "models:/NAME/VERSION".
            place: path of the weights in the model's folder.
        Raises:
            UserError: there is no such model, it is not one of this project, or what was sent is not what was
                registered.
        """
        version = self._resolve(model_uri)
        if (digest := version.tags.get(DIGEST_TAG)) is None:
            raise UserError(f"{model_uri} was not registered by this project: it has no tag {DIGEST_TAG}; use another")
        path = folder / f"{digest}{Path(place).suffix}"
        if path.exists() and sha256(path) == digest:
            return path
        from mlflow.artifacts import download_artifacts

        location = self.client.get_model_version_download_uri(version.name, version.version)
        with tempfile.TemporaryDirectory() as temporary:
            sent = download_artifacts(f"{location}/{place}", dst_path=temporary, tracking_uri=self.uri)
            if (found := sha256(sent)) != digest:
                raise UserError(f"{model_uri} has weights with SHA-256 {found}, not {digest}: they were replaced")
            write_atomic(path, Path(sent).read_bytes())
        return path

    def _resolve(self, model_uri: str) -> ModelVersion:
        if (parts := MODEL_URI.fullmatch(model_uri)) is None:
            raise UserError(f"{model_uri!r} is not a model; allowed are models:/NAME@ALIAS and models:/NAME/VERSION")
        try:
            if parts["alias"]:
                return self.client.get_model_version_by_alias(parts["name"], parts["alias"])
            return self.client.get_model_version(parts["name"], parts["version"])
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise UserError(
                f"there is no {model_uri} in {redact_password(self.uri)}; `{PROMOTE_COMMAND}` registers the model here "
                "and makes it the champion"
            ) from error

    # ---- registering ----

    def _logged_by(self, run_log: RunLog, run: Run, digest: str) -> list[LoggedModel]:
        """Models with that hash that were logged from this run log, also by an attempt that was killed."""
        tags = f"tags.`{DIGEST_TAG}` = '{digest}' AND tags.`{RUN_LOG_TAG}` = '{run_log.id}'"
        found = self.client.search_logged_models([run.info.experiment_id], tags)
        return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))

    def _log(self, run_log: RunLog, run: Run, event: Event, logged: list[LoggedModel]) -> LoggedModel:
        """The model with its files, uploaded again if it is not known that they all arrived."""
        if logged:
            model = logged[0]
        else:
            tags = {DIGEST_TAG: event["sha256"], RUN_LOG_TAG: run_log.id, CLONE_TAG: clone_id(run_log.root)}
            with one_long_request():
                model = self.client.create_logged_model(
                    run.info.experiment_id, event["name"], run.info.run_id, tags, dict(run_log.params)
                )
        if model.status != "READY":
            with tempfile.TemporaryDirectory() as folder:
                write_model(Path(folder), run_log, event)
                self.client.log_model_artifacts(model.model_id, folder)
            self.client.finalize_logged_model(model.model_id, "READY")
        return model

    def _create_version(self, event: Event, run: Run, model: LoggedModel) -> None:
        with contextlib.suppress(MlflowException):  # it exists; if it could not be created, the next call says why
            self.client.create_registered_model(event["name"])
        with one_long_request():
            # Not "models:/<id>" as source: MLflow 3.17 looks that up in the store of the environment, not in this one
            self.client.create_model_version(
                event["name"],
                model.artifact_location,
                run.info.run_id,
                tags={DIGEST_TAG: event["sha256"], MODEL_ID_TAG: model.model_id},
                await_creation_for=0,
                model_id=model.model_id,
            )


def write_model(folder: Path, run_log: RunLog, event: Event) -> None:
    """Write the folder that MLflow serves, as `mlflow.pyfunc.save_model` of MLflow 3.17 writes it.

    That function would run the model's code, which is that of the training's commit, in this process.
    """
    from mlflow.models import Model  # these two take a second to import, and most sends have no model
    from mlflow.pyfunc import add_to_model

    for place, copy in event["files"].items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run_log.copied_file(copy), folder / place)
    _write_environment(folder, event)
    # Requests go into the key "inputs". The first file is the example itself, the second what a server gets.
    (folder / "input_example.json").write_text(json.dumps(event["example"]))
    (folder / "serving_input_example.json").write_text(json.dumps({"inputs": event["example"]}, indent=2))
    model = Model.from_dict(
        {
            "mlflow_version": VERSION,
            "model_uuid": event["sha256"][:32],
            "signature": event["signature"],
            "is_signature_from_type_hint": True,
            "type_hint_from_example": False,
            "saved_input_example_info": {
                "artifact_path": "input_example.json",
                "serving_input_path": "serving_input_example.json",
                "type": "json_object",
            },
        }
    )
    add_to_model(
        model,
        loader_module="mlflow.pyfunc.loaders.code_model",
        code="code",
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        model_code_path=event["entry"],
        artifacts={name: {"path": place, "uri": place} for name, place in event["weights"].items()},
        streamable=False,
    )
    model.save(str(folder / "MLmodel"))


def _write_environment(folder: Path, event: Event) -> None:
    """What `mlflow models serve` installs, unless it is told to use the environment it runs in. JSON is YAML, too."""
    requirements, python = event["requirements"], event["python"]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    virtualenv = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(virtualenv, indent=2))
    packages = [f"python={python}", "pip", {"pip": requirements}]
    conda = {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": packages}
    (folder / "conda.yaml").write_text(json.dumps(conda, indent=2))


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Another process may delete the same thing first."""
    with _ignored("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
        yield


@contextlib.contextmanager
def _unless_forbidden() -> Iterator[None]:
    """Not every user may delete what others made, or even their own."""
    with _ignored("PERMISSION_DENIED"):
        yield


@contextlib.contextmanager
def _ignored(*error_codes: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code not in error_codes:
            raise
