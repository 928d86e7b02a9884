"""A new SQLite store appears whole or not at all.

MLflow builds the tables of a new store in place, and a kill halfway spoils the file. So a store is created under
another name in the same folder and then renamed. A file that another program left half-made is recognized and kept.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from dcgan.support.errors import UserError

BUSY_S = 20.0  # how long to wait for another process that is writing; MLflow waits as long
SETTLED_S = 10.0  # a half-made store that changed more recently may still be in the making by another program
# SQLite's own files next to a database; for it, they belong to whatever database has the name
COMPANIONS = ("-journal", "-wal", "-shm")
TABLES_WITHOUT_CONTENT = {"alembic_version", "workspaces", "sqlite_sequence"}  # filled by MLflow's migrations


def ensure_whole(database: Path, create: Callable[[Path], None]) -> None:
    """Create the store if there is none; call it under the lock of the store.

    Args:
        create: makes a complete store in the file that it is given, and closes it.
    Raises:
        UserError: the file is not a SQLite database, or one of another program.
        sqlite3.OperationalError: the file cannot be opened, or another process holds its lock.
    """
    if database.exists() and _stays_half_made(database):
        aside = _keep_aside(database)
        print(
            f"tracking: the store {database} was left half-made by a process that was killed; it holds no run, is kept "
            f"as {aside.name}, and a new store is created",
            file=sys.stderr,
        )
    if not database.exists():
        _create(database, create)


def _create(database: Path, create: Callable[[Path], None]) -> None:
    new = database.with_name(f"{database.name}.new")
    _remove(new, *_companions(new))  # left by a process that was killed
    create(new)
    with open(new, "rb") as stream:
        os.fsync(stream.fileno())
    if database.exists():  # another program that does not use the lock was faster
        _remove(new)
        return
    _remove(*_companions(database))  # of a store that was deleted: SQLite would apply them to this one
    os.replace(new, database)


def _stays_half_made(database: Path) -> bool:
    while database.exists() and _is_half_made(database):
        if time.time() - _last_change(database) > SETTLED_S:
            return True
        time.sleep(0.2)
    return False


def _is_half_made(database: Path) -> bool:
    """Whether no table has content: MLflow creates its default experiment when all tables are there."""
    try:
        filled = _filled_tables(database)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"the store {database} is not a SQLite database or is damaged ({error}); restore it, or move it away and "
            "run this again: a new one is created, and gets all run logs"
        ) from error
    if filled and "experiments" not in filled:
        raise UserError(
            f"{database} is not an MLflow store: it has a table {min(filled)!r}, but no experiments; set "
            "MLFLOW_TRACKING_URI to another file"
        )
    return not filled


def _filled_tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = {name for (name,) in found} - TABLES_WITHOUT_CONTENT
        return {name for name in tables if connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()}


def _last_change(database: Path) -> float:
    """In seconds since 1970."""
    return max(path.stat().st_mtime for path in (database, *_companions(database)) if path.exists())


def _keep_aside(database: Path) -> Path:
    aside = database.with_name(f"{database.name}.half-made-{time.strftime('%Y%m%d-%H%M%S')}")
    for path, companion in zip(_companions(database), _companions(aside), strict=True):
        if path.exists():
            os.replace(path, companion)
    os.replace(database, aside)
    return aside


def _companions(database: Path) -> list[Path]:
    return [database.with_name(database.name + suffix) for suffix in COMPANIONS]


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
