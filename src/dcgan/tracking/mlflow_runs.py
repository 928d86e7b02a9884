"""Which run of an MLflow experiment belongs to a run log, and that there is only one.

MLflow cannot create a run only if there is none. So one run log can get several runs: a server was too slow to answer,
and the request was made again; two clones publish the same restored model at the same moment. Such twins are found by
whoever looks next, and all but one are closed.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from dcgan.tracking.locations import clone_id
from dcgan.tracking.names import CLONE_TAG, RUN_LOG_TAG, SWEEP_TAG, TWIN_TAG
from dcgan.tracking.run_log import FINAL, RESTORED, RunLog
from dcgan.tracking.sent import Sent, Unanswered, read_sent, write_sent

PARENT_TAG = "mlflow.parentRunId"
CREATE_S = 60.0  # how long to wait for the answer to a request that creates a run
POLL_S = 1.0


class Runs:
    """The runs of one experiment."""

    def __init__(self, client: MlflowClient, experiment_id: str, uri: str) -> None:
        self.client, self.experiment_id, self.uri = client, experiment_id, uri

    def search(self, filter_string: str) -> list[Run]:
        """Runs of the experiment, active ones first, among them the newest."""
        runs = self.client.search_runs([self.experiment_id], filter_string, ViewType.ALL)
        return sorted(runs, key=lambda run: (not _is_active(run), -run.info.start_time))

    def set_status(self, run_id: str, status: str, ended: int) -> None:
        """`ended`: ms since 1970; ignored unless the status is final."""
        if status in FINAL:
            with contextlib.redirect_stdout(io.StringIO()):  # MLflow prints the run's address
                self.client.set_terminated(run_id, status, ended)
        else:
            self.client.update_run(run_id, status=status)

    def find_or_create(self, run_log: RunLog, parent: Run | None, wait: float) -> Run:
        """The run of a run log; twins that have appeared are closed. Call it under the lock of the run log.

        Raises:
            Unanswered: a run may still appear; `wait` seconds were not enough to know.
        """
        run = self.find(run_log) or self._await_requested(run_log, wait) or self._create(run_log, parent)
        self._forget_answered_requests(run_log)
        return run

    def set_parent(self, run: Run, parent: Run) -> None:
        """The parent's run can be another one than at the child's start: it was closed as a twin, or was missing."""
        if run.data.tags.get(PARENT_TAG) != parent.info.run_id:
            self.client.set_tag(run.info.run_id, PARENT_TAG, parent.info.run_id)

    def find(self, run_log: RunLog) -> Run | None:
        """By the run log's id. The clone that trained a model which DVC restored here may have sent it already: then
        by the model's hash, unless that run has other scores. Twins are closed."""
        runs = self._runs_of(run_log.id)
        own = self._keep_first(runs) if runs and _is_active(runs[0]) else _first(runs)
        is_identified = run_log.is_restored and "model.sha256" in run_log.tags
        return self._find_same_evaluation(run_log, own) if is_identified else own

    def look_up(self, run_log_id: str) -> Run | None:
        """The run with this run log's id, for whoever does not hold the run log's lock; changes nothing."""
        return _first(self._runs_of(run_log_id))

    def _runs_of(self, run_log_id: str) -> list[Run]:
        """All active runs with this run log's id, the one to keep first; if there is none, those a user deleted."""
        runs = [run for run in self.search(f"tags.`{RUN_LOG_TAG}` = '{run_log_id}'") if not is_twin(run)]
        # Of one run log, only the process that holds its lock decides, so what a run has so far can count
        return sorted(filter(_is_active, runs), key=lambda run: (_is_empty(run), run.info.run_id)) or runs

    def _find_same_evaluation(self, run_log: RunLog, own: Run | None) -> Run | None:
        if own and not _is_active(own):
            return own
        model, settings = run_log.tags["model.sha256"], run_log.tags.get("evaluation.settings")
        found = [
            run
            for run in self.search(f"tags.`model.sha256` = '{model}'")
            if not is_twin(run) and _is_reevaluation(run) == bool(run_log.parent)
        ]
        same = [run for run in found if _is_active(run) and run.data.tags.get("evaluation.settings") == settings]
        if own and own.info.run_id not in {run.info.run_id for run in same}:
            same.append(own)
        if same:
            # Several clones may decide this at the same moment: so by what never changes
            same.sort(key=lambda run: (is_restored(run), run.info.start_time, run.info.run_id))
            return self._keep_first(same)
        unevaluated = [run for run in found if None in (run.data.tags.get("evaluation.settings"), settings)]
        return _first([run for run in found if run.data.tags.get("evaluation.settings") == settings] or unevaluated)

    def _keep_first(self, runs: list[Run]) -> Run:
        """The first run. The others are closed, except trainings of other run logs."""
        first, *others = runs
        for run in others:
            if is_restored(run) or _run_log_id(run) == _run_log_id(first) != "":
                self._close_twin(run, first)
        return first

    def _close_twin(self, twin: Run, kept: Run) -> None:
        """Tagged and closed first: not every user may delete runs."""
        run_id = twin.info.run_id
        try:
            self.client.set_tag(run_id, TWIN_TAG, kept.info.run_id)
            self.set_status(run_id, "KILLED", _now())
        except MlflowException:
            if _is_active(self.client.get_run(run_id)):
                raise
            return  # another process was faster
        with contextlib.suppress(MlflowException):
            self.client.delete_run(run_id)

    # ---- creating ----

    def _create(self, run_log: RunLog, parent: Run | None) -> Run:
        tags = {RUN_LOG_TAG: run_log.id, CLONE_TAG: clone_id(run_log.root)}
        if parent:
            tags[PARENT_TAG] = parent.info.run_id
        elif run_log.parent:
            print(
                f"tracking: run log {run_log.parent} is gone or damaged; {run_log.id}, another evaluation of its "
                "model, is sent without it",
                file=sys.stderr,
            )
        if run_log.is_restored:  # other clones find it by these
            tags |= {key: run_log.tags[key] for key in ("model.sha256", "evaluation.settings") if key in run_log.tags}
        self._note_request(run_log, 1)
        try:
            with one_long_request():
                created = self.client.create_run(self.experiment_id, run_log.started, tags, run_log.name)
        except MlflowException as error:
            if error.get_http_status_code() < 500:
                self._note_request(run_log, -1)  # refused
            raise
        return self.find(run_log) or created

    def _note_request(self, run_log: RunLog, change: int) -> None:
        """Only a server can carry out a request after its sender has given up."""
        if self.uri.startswith("http"):
            sent = read_sent(run_log.folder, self.uri)
            requests = max(sent.requests + change, 0)
            write_sent(run_log.folder, self.uri, replace(sent, requests=requests, requested=time.time()))

    def _await_requested(self, run_log: RunLog, wait: float) -> Run | None:
        """The run that an unanswered request creates, if it appears in time; None if it will not appear."""
        sent = read_sent(run_log.folder, self.uri)
        if not sent.requests:
            return None
        deadline = time.time() + wait
        while abs(time.time() - sent.requested) < CREATE_S:  # the clock may have been set back since
            if time.time() >= deadline:
                raise Unanswered(f"the server has not answered yet whether it created the run of run log {run_log.id}")
            time.sleep(POLL_S)
            if run := self.find(run_log):
                return run
        return None

    def _forget_answered_requests(self, run_log: RunLog) -> None:
        sent = read_sent(run_log.folder, self.uri)
        if sent.requests and len(self.search(f"tags.`{RUN_LOG_TAG}` = '{run_log.id}'")) >= sent.requests:
            write_sent(run_log.folder, self.uri, Sent(sent.run_id, sent.size))


def is_twin(run: Run) -> bool:
    return TWIN_TAG in run.data.tags


def _is_active(run: Run) -> bool:
    return run.info.lifecycle_stage == "active"


def _is_reevaluation(run: Run) -> bool:
    """The other children are the trainings of a sweep."""
    return PARENT_TAG in run.data.tags and SWEEP_TAG not in run.data.tags


def _is_empty(run: Run) -> bool:
    return not run.data.metrics and not run.data.params


def is_restored(run: Run) -> bool:
    """Whether it was made from files alone. All clones that publish these have the same to say."""
    return _run_log_id(run).startswith(RESTORED)


def _run_log_id(run: Run) -> str:
    """Empty if the run was not made from a run log."""
    return run.data.tags.get(RUN_LOG_TAG, "")


def _first(runs: list[Run]) -> Run | None:
    return runs[0] if runs else None


@contextlib.contextmanager
def one_long_request() -> Iterator[None]:
    """One request with a long wait instead of MLflow's repeated ones: each of them could create a run."""
    names = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    before = {name: os.environ[name] for name in names}
    os.environ[names[0]] = str(max(int(float(before[names[0]])), int(CREATE_S)))
    os.environ[names[1]] = "0"
    try:
        yield
    finally:
        os.environ.update(before)


def _now() -> int:
    return time.time_ns() // 1_000_000
