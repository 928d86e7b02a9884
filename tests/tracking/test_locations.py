"""Where run logs and stores are."""

import pytest

from dcgan.paths import local_state, root_folder
from dcgan.support.errors import UserError
from dcgan.tracking.locations import (
    redact_password,
    run_logs_folder,
    run_logs_lock,
    sqlite_path,
    store_uri,
    summarize_error,
)


def test_the_store_is_the_same_from_the_folder_of_a_queued_experiment(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "dvc.yaml").touch()
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert root_folder() == tmp_path
    assert store_uri(root_folder()) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "a"))
    assert store_uri(root_folder()) == f"sqlite:///{tmp_path}/a/mlflow.db"


def test_a_relative_sqlite_path_starts_at_the_root_and_other_addresses_are_unchanged(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///stores/mine.db")
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/stores/mine.db"
    assert sqlite_path(store_uri(tmp_path)) == tmp_path / "stores/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere/mine.db")
    assert store_uri(tmp_path) == "sqlite:////elsewhere/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@example.org/x@y")
    assert store_uri(tmp_path) == "https://me:secret@example.org/x@y"
    assert sqlite_path(store_uri(tmp_path)) is None


@pytest.mark.parametrize("folder", ["a?b=c", "a%20b", "a#b", "a b", "100%"])
def test_the_store_is_at_its_path_whatever_characters_that_has(tmp_path, monkeypatch, folder):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / folder
    assert sqlite_path(store_uri(root)) == root / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db?timeout=5")
    assert sqlite_path(store_uri(root)) == root / "mine.db"
    assert store_uri(root).endswith("timeout=5")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@example.org/x@y", "https://example.org/x@y"),
        ("https://me:sec@ret@example.org", "https://example.org"),
        ("cannot parse https://me:sec/ret@example.org/api", "cannot parse https://example.org/api"),
        ("https://secret@example.org", "https://example.org"),
        ("postgresql+psycopg2://me:secret@db:5432/mlflow", "postgresql+psycopg2://db:5432/mlflow"),
        ("postgresql://db/mlflow?user=me&password=secret&ssl=1", "postgresql://db/mlflow?user=me&password=***&ssl=1"),
        (
            "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dsecret%3BDATABASE%3Dx",
            "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D***%3BDATABASE%3Dx",
        ),
        ("http://example.org:5000/x@y", "http://example.org:5000/x@y"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_a_password_in_an_address_is_not_shown(text, shown):
    assert redact_password(text) == shown
    if "secret" in text:
        assert "secret" not in summarize_error(OSError(f"API request to {text} failed"))


def test_run_logs_are_in_the_projects_local_state(tmp_path):
    assert run_logs_folder(tmp_path).parent == run_logs_lock(tmp_path).parent == local_state(tmp_path)


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (OSError("HTTPConnectionPool(...): [Errno 111] Connection refused'))"), "connection refused"),
        (OSError("Read timed out. (read timeout=10)"), "timed out"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (UserError("what to do"), "what to do"),
    ],
)
def test_an_error_is_summarized_in_a_few_words(error, summary):
    assert summarize_error(error) == summary
    assert len(summarize_error(ValueError("word " * 1000))) < 250
