"""Names that belong to this project. A project that takes the tracking package over changes them here."""

EXPERIMENT = "dcgan"  # in MLflow, unless MLFLOW_EXPERIMENT_NAME is set
RUN_LOG_TAG = "dcgan.run_log"  # MLflow tag of a run: the id of its run log
CLONE_TAG = "dcgan.clone"  # ... and of the clone that created it
TWIN_TAG = "dcgan.twin_of"  # MLflow tag of a run or model version created by mistake: which is used instead
MODEL_ID_TAG = "model.id"  # tag of a registered version: its logged model
END_TAG = "end.reason"  # MLflow tag of a run that failed or was killed: why
STATE_FOLDER = ".dcgan"  # local state, under the repository's root and ignored by Git
SWEEP_TAG = "dcgan.sweep"  # MLflow tag of a run: the id of the run log of the sweep that it belongs to
SWEEP_VARIABLE = "DCGAN_SWEEP"  # environment variable: that id, for the stages of the sweep's runs
SEND_EVERY_VARIABLE = "DCGAN_PUBLISH_EVERY_S"  # environment variable: seconds between two sends, or ...
NEVER = "never"  # ... this: the stage only writes its run log, and another process sends it
PUBLISH_COMMAND = "dcgan publish"
PROMOTE_COMMAND = "dcgan promote"
ENVIRONMENT_FILE = "environment.json"  # artifact of a training: what it ran on
ENVIRONMENT_TAGS = ("host", "device", "precision", "version.python", "version.torch")  # what of it is a tag, too
PACKAGES = ("torch", "torchvision", "torchmetrics", "dvc", "mlflow", "numpy", "scipy")  # whose versions are logged
