"""The run log of a stage from its start to its final status."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic
from dcgan.support.stop_signals import Interrupted
from dcgan.tracking.description import log_end, log_resumption
from dcgan.tracking.names import SWEEP_TAG, SWEEP_VARIABLE
from dcgan.tracking.run_log import RunLog, new_run_log_id
from dcgan.tracking.sender import publishing


def start_or_resume(root: Path, id_file: Path, default_name: str) -> RunLog:
    """The run log whose id is in the file `id_file`; a new one if there is no such file.

    Its name is the user's (MLFLOW_RUN_NAME), else that of the DVC experiment, else `default_name`.
    The id is written before the run log is created, so that a kill in between does not leave a second one behind.
    """
    if not id_file.exists():
        write_atomic(id_file, new_run_log_id().encode())
    name = os.environ.get("MLFLOW_RUN_NAME") or os.environ.get("DVC_EXP_NAME") or default_name
    run_log = RunLog.create(root, name, run_log_id=id_file.read_text())
    if run_log.status != "RUNNING":
        log_resumption(run_log)
    if sweep := os.environ.get(SWEEP_VARIABLE):
        run_log.log_tags({SWEEP_TAG: sweep})
    return run_log


@contextmanager
def tracked(root: Path, run_log: RunLog) -> Iterator[None]:
    """Send run logs to MLflow while the block runs, and end this one as the block ends, as in `ending`."""
    with publishing(root), ending(run_log):
        yield


@contextmanager
def ending(run_log: RunLog) -> Iterator[None]:
    """Set the final status: KILLED if the block was asked to stop (`Interrupted`), FAILED on any other exception, both
    with the reason; else FINISHED."""
    try:
        yield
    except BaseException as error:
        with suppress(UserError):  # a full disk, most likely also what ended the block: its own error says more
            log_end(run_log, "KILLED" if isinstance(error, Interrupted) else "FAILED", error)
        raise
    run_log.finish("FINISHED")
