"""The run's database: written by a thread of its own while the run goes on, read as arrays."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mctrack.errors import OutputError, redact
from mctrack.sinks.files import unwritable
from mctrack.sinks.reader import StoreReader, check_version, connect_readonly
from mctrack.sinks.rows import Rows
from mctrack.sinks.schema import APPLICATION_ID, DDL, SCHEMA_VERSION, CameraInfo
from mctrack.sinks.state import dump_state, load_state
from mctrack.sinks.writer import WriterThread, explain
from mctrack.types import InstantResult, State


class RunStore(StoreReader):
    """A run's ``run.db``; see :mod:`mctrack.sinks.schema` for what is in it.

    Rows become durable within ``commit_s`` seconds, all rows of an instant together. Killing the process
    (``kill -9``) loses nothing that was committed; a power cut may lose the last commits but never the file.
    """

    def __init__(
        self, path: Path, db: sqlite3.Connection | None, lock: int | None = None, commit_s: float = 0.5
    ) -> None:
        """Use :meth:`create` or :meth:`open`."""
        super().__init__(path)
        self._writer = None if db is None else WriterThread(path, db, lock, commit_s)

    @classmethod
    def create(
        cls, path: str | Path, cameras: Sequence[CameraInfo], config_yaml: str,
        overwrite: bool = False, commit_s: float = 0.5,
    ) -> RunStore:  # fmt: skip
        """Start a new database.

        Args:
            path: the file; its folder is made.
            cameras: in the run's order.
            config_yaml: the merged configuration.
            overwrite: replace a database that is there.
            commit_s: rows become durable this often, in seconds.

        Raises:
            OutputError: it is there already, cannot be written, or another run is writing in this folder.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise OutputError(f"{path} is there already: go on with --resume, or choose another folder with --out")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(unwritable(path, error)) from error
        with _locked(path) as lock:
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            db = _connect(path)
            _initialise(db, cameras, config_yaml)
        return cls(path, db, lock, commit_s)

    @classmethod
    def open(cls, path: str | Path, readonly: bool = True, commit_s: float = 0.5) -> RunStore:
        """Open a database that is there; with ``readonly=False`` to go on writing (call :meth:`rewind` first).

        Raises:
            OutputError: it is missing, no run database, of another version, or being written by another run.
        """
        path = Path(path)
        connect_readonly(path).close()
        if readonly:
            return cls(path, None)
        with _locked(path) as lock:
            db = _connect(path)
            check_version(db, path)
        return cls(path, db, lock, commit_s)

    def write(self, result: InstantResult) -> None:
        """Hand over one instant; waits only when the disk cannot keep up. Its pictures are let go at once.

        Raises:
            OutputError: an earlier write failed.
        """
        rows = Rows.of(result)
        self._writing().put(lambda writer: writer.write(rows))

    def warn(self, message: str, camera: str | None = None, time_s: float | None = None) -> None:
        """Keep a warning with the run."""
        line = redact(message)
        self._writing().put(lambda writer: writer.warn(line, camera, time_s))

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact about the run."""
        text = redact(value)
        self._writing().put(lambda writer: writer.set_meta(key, text))

    def checkpoint(self, instant_number: int, state: State) -> None:
        """Save the state that belongs to everything written so far; it becomes durable together with that.

        Args:
            instant_number: the caller's own count, given back by :meth:`rewind`.
            state: see :func:`mctrack.sinks.state.dump_state`; copied before this returns.
        """
        data = dump_state(state)
        self._writing().put(lambda writer: writer.checkpoint(int(instant_number), data))

    def rewind(self) -> tuple[int, State] | None:
        """Go back to the last checkpoint: undo every row written after it, and return its number and state.

        Without a checkpoint all results are undone and None is returned: the run starts afresh.
        """
        found = self._writing().call(lambda writer: writer.rewind())
        return None if found is None else (found[0], load_state(found[1]))

    def end(self, status: str) -> None:
        """Set the run's ``status`` for good; after ``complete`` there is nothing to resume, and the checkpoint goes.

        Returns when that is durable.
        """
        self._writing().call(lambda writer: writer.end(redact(status)))

    @property
    def seconds(self) -> dict[str, float]:
        """``store``: CPU seconds the writer thread has taken."""
        return {"store": 0.0 if self._writer is None else self._writer.cpu_s}

    def flush(self) -> None:
        """Return when everything handed over is durable and visible to readers."""
        self._writing().call(lambda writer: writer.commit())

    def close(self) -> None:
        """Make everything durable and let go of the file. Safe to call twice.

        Raises:
            OutputError: something could not be written and no call has said so yet.
        """
        super().close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _writing(self) -> WriterThread:
        if self._writer is None:
            raise ValueError(f"{self.path} was opened for reading only")
        return self._writer


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    # Readers go on while we write. NORMAL: no fsync at each commit; the operating system has the pages,
    # so they outlive this process, though maybe not a power cut.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _initialise(db: sqlite3.Connection, cameras: Sequence[CameraInfo], config_yaml: str) -> None:
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.executescript(f"BEGIN; {DDL} COMMIT;")
    db.execute("BEGIN")
    for i, c in enumerate(cameras):
        fps = float(c.fps) if c.fps else None
        row = (i, c.name, redact(c.source), int(c.width), int(c.height), fps, float(c.offset_s))
        db.execute("INSERT INTO cameras VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    facts = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "mctrack_version": _version(),
        "config_yaml": redact(config_yaml),
    }
    db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
    db.execute("COMMIT")


def _version() -> str:
    try:
        return version("mctrack")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Keep a second run out of the folder; the lock ends with the process, however it ends, and leaves no file.

    The folder is locked, not the database: closing a second descriptor of that would drop SQLite's own locks on it.
    """
    try:
        lock = _lock(path.parent)
        try:
            yield lock
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
    except sqlite3.Error as error:
        raise OutputError(explain(path, error)) from error
    except OSError as error:
        raise OutputError(unwritable(path, error)) from error


def _lock(folder: Path) -> int | None:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OutputError(f"another mctrack is writing in {folder}: wait for it, or choose another --out") from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor
