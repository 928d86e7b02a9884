"""The run log of a stage from its start to its final status."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcgan.support.files import write_atomic
from dcgan.support.stop_signals import Interrupted
from dcgan.tracking.run_log import RunLog, new_run_log_id
from dcgan.tracking.sender import publishing


def start_or_resume(root: Path, id_file: Path, name: str) -> RunLog:
    """The run log whose id is in the file `id_file`; a new one called `name` if there is no such file.

    The id is written before the run log is created, so that a kill in between does not leave a second one behind.
    """
    if not id_file.exists():
        write_atomic(id_file, new_run_log_id().encode())
    run_log = RunLog.create(root, name, run_log_id=id_file.read_text())
    if run_log.status != "RUNNING":
        run_log.resume()
    return run_log


@contextmanager
def tracked(root: Path, run_log: RunLog) -> Iterator[None]:
    """Send run logs to MLflow while the block runs, and set this one's final status: KILLED if the block was asked to
    stop (`Interrupted`), FAILED on any other exception, else FINISHED."""
    with publishing(root):
        try:
            yield
        except Interrupted:
            run_log.finish("KILLED")
            raise
        except BaseException:
            run_log.finish("FAILED")
            raise
        run_log.finish("FINISHED")
