"""A SQLite store is whole or not there: creators that are killed, half-made, damaged and locked files."""

import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tracking.helpers import FORKS, find_run, wait_for

from dcgan.support.errors import UserError
from dcgan.tracking import sqlite_store
from dcgan.tracking.locations import sqlite_uri
from dcgan.tracking.mlflow_store import STORE_ERRORS, Store
from dcgan.tracking.run_log import RunLog

# What kills of MLflow's own creation left behind: tables without rows, some of them temporary
HALF_MADE = {
    "in the first tables": "CREATE TABLE experiments (a); CREATE TABLE metrics (key, value, step)",
    "in a migration": "CREATE TABLE experiments (a); CREATE TABLE alembic_version (v); "
    "INSERT INTO alembic_version VALUES ('451aebb31d03'); CREATE TABLE _alembic_tmp_params (key)",
    "before the first table": "PRAGMA user_version = 0",
}


def write_database(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    path.touch()
    os.utime(path, (1, 1))


def check_whole(database: Path) -> None:
    """The store can be opened, accepts runs, and its database is intact."""
    store = Store(sqlite_uri(database))
    store.client.create_run(store.experiment_id)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("script", HALF_MADE.values(), ids=HALF_MADE)
def test_a_half_made_store_is_kept_aside_and_replaced(tmp_path, empty_database, capsys, monkeypatch, script):
    database = tmp_path / "mlflow.db"
    write_database(database, script)
    before = database.read_bytes()
    monkeypatch.setattr("dcgan.tracking.mlflow_store._create_sqlite_store", copy_of(empty_database))  # takes seconds
    check_whole(database)
    (aside,) = tmp_path.glob("mlflow.db.half-made-*")
    assert aside.read_bytes() == before
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "was left half-made" in printed and aside.name in printed
    check_whole(database)
    assert capsys.readouterr().err == ""


def copy_of(database: Path):
    return lambda new: new.write_bytes(database.read_bytes())


def test_a_store_that_another_program_is_creating_is_waited_for(tmp_path, empty_database, capsys, monkeypatch):
    monkeypatch.setattr(sqlite_store, "SETTLED_S", 3)
    database = tmp_path / "mlflow.db"
    write_database(database, HALF_MADE["in a migration"])
    os.utime(database)
    script = f"import shutil, time; time.sleep(0.5); shutil.copy({str(empty_database)!r}, {str(database)!r})"
    with subprocess.Popen([sys.executable, "-c", script]):
        check_whole(database)
    assert capsys.readouterr().err == "" and not list(tmp_path.glob("*half-made*"))


KILLED_CREATOR = """
import os, sys
from pathlib import Path
from dcgan.tracking.sqlite_store import ensure_whole
def create(new):
    new.write_bytes(b"SQLite format 3, half of it")
    os.kill(os.getpid(), 9)
ensure_whole(Path(sys.argv[1]), create)
"""


def test_a_creator_that_is_killed_leaves_no_store_and_does_not_hinder_the_next_one(tmp_path, empty_database):
    database = tmp_path / "mlflow.db"
    assert subprocess.run([sys.executable, "-c", KILLED_CREATOR, str(database)]).returncode == -9
    assert not database.exists() and list(tmp_path.iterdir())
    sqlite_store.ensure_whole(database, copy_of(empty_database))
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    check_whole(database)


@pytest.mark.faults
def test_kill_9_while_a_store_is_created_spoils_nothing(tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    halfway = 0
    for round_ in range(30):
        database = tmp_path / str(round_) / "mlflow.db"
        creator = FORKS.Process(target=Store, args=(sqlite_uri(database),))
        creator.start()
        wait_for(database.with_name("mlflow.db.lock").exists)
        time.sleep(chance.uniform(0, 2))
        creator.kill()
        creator.join()
        halfway += not database.exists()
        check_whole(database)
    print(f"{halfway} of 30 creators killed before the store was there, 0 spoiled")
    assert halfway


@pytest.mark.faults
def test_killing_the_sender_while_it_creates_the_store_spoils_nothing(root, tmp_path):
    """As a stage does when its time for the last send is over."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    halfway = 0
    for round_ in range(30):
        folder = tmp_path / str(round_)
        run_log = RunLog.create(folder, "run")
        command = [sys.executable, "-m", "dcgan.tracking.sender", str(folder), str(os.getpid()), "5"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as sender:
            wait_for(lambda folder=folder: (folder / "mlflow.db.lock").exists())
            time.sleep(chance.uniform(0, 3))
            sender.kill()
        halfway += not (folder / "mlflow.db").exists()
        store = Store(sqlite_uri(folder / "mlflow.db"))
        store.publish(run_log)
        assert find_run(store, run_log).info.run_name == "run"
        check_whole(folder / "mlflow.db")
    print(f"{halfway} of 30 senders killed before the store was there, 0 spoiled")
    assert halfway


INTERRUPTED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = 1; CREATE TABLE t (a)")
connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
connection.commit()
connection.execute("UPDATE t SET a = a || 'y'")
os._exit(0)
"""


def test_the_journal_of_a_deleted_store_is_not_applied_to_the_new_one(tmp_path, empty_database, monkeypatch):
    database = tmp_path / "mlflow.db"
    subprocess.run([sys.executable, "-c", INTERRUPTED_WRITER, str(database)], check=True)
    database.unlink()
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 10_000
    monkeypatch.setattr("dcgan.tracking.mlflow_store._create_sqlite_store", copy_of(empty_database))  # takes seconds
    check_whole(database)


def test_the_database_of_another_program_is_left_alone(tmp_path):
    database = tmp_path / "addresses.db"
    write_database(database, "CREATE TABLE experiments (a); CREATE TABLE people (a); INSERT INTO people VALUES (1)")
    before = database.read_bytes()
    with pytest.raises(UserError, match=r"not an MLflow store: it has a table 'people', but no experiments"):
        Store(sqlite_uri(database))
    assert database.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"addresses.db", "addresses.db.lock"}


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_one_line_at_once(tmp_path, capfd, content):
    database = tmp_path / "mlflow.db"
    database.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(UserError, match=re.escape(f"{database} is not a SQLite database or is damaged")) as caught:
        Store(sqlite_uri(database))
    assert time.monotonic() - started < 5  # MLflow would try for 100 s
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")
    assert database.read_bytes() == content


def test_a_locked_store_is_one_line(tmp_path, empty_database, capfd, monkeypatch):
    monkeypatch.setattr(sqlite_store, "BUSY_S", 0.1)
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(STORE_ERRORS, match="database is locked"):
            Store(sqlite_uri(database))
    assert capfd.readouterr() == ("", "")
