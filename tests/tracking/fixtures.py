"""Fixtures for tests that need a repository and its MLflow store, imported by conftest.py files."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from dcgan.tracking.locations import store_uri
from dcgan.tracking.mlflow_store import Store


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """An empty repository folder that local state and store belong to."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_NAME"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A SQLite store with tables but without the experiment: creating the tables takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM experiments WHERE name = 'dcgan'")
        connection.commit()
    return path


@pytest.fixture
def store(root, empty_database) -> Store:
    """The SQLite store of `root`."""
    shutil.copy(empty_database, root / "mlflow.db")
    return Store(store_uri(root))
