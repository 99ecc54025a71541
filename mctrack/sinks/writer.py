"""The thread that writes the run database."""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from mctrack.errors import OutputError
from mctrack.sinks.rows import RowWriter

T = TypeVar("T")
_QUEUE = 64  # instants; enough to ride out a slow disk, too few to lose much


class WriterThread:
    """Runs jobs in order on a thread that owns the connection, and commits on a timer.

    After an error nothing more is written; what was committed before stays.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int | None, commit_s: float) -> None:
        self._path, self._db, self._lock, self._commit_s = path, db, lock, commit_s
        self._rows = RowWriter(db)
        self._jobs: queue.Queue[tuple[Callable[[RowWriter], Any], Future[Any]] | None] = queue.Queue(_QUEUE)
        self._gate = threading.Lock()
        self._error: OutputError | None = None
        self._told = False
        self._closed = False
        self.cpu_s = 0.0
        self._thread = threading.Thread(target=self._run, name="run.db", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[RowWriter], T]) -> Future[T]:
        """Queue a job; waits while the queue is full.

        Raises:
            OutputError: an earlier job failed.
        """
        done: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise ValueError(f"{self._path} is closed")
            if self._error is not None:
                self._told = True
                raise self._error
            self._jobs.put((job, done))
        return done

    def call(self, job: Callable[[RowWriter], T]) -> T:
        """Run a job after all earlier ones and wait for its result."""
        try:
            return self.put(job).result()
        except OutputError:
            self._told = True
            raise

    def close(self) -> None:
        """Do everything that is queued, commit and close the database."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._error is not None and not self._told:
            self._told = True
            raise self._error

    def _run(self) -> None:
        due: float | None = None
        while True:
            try:
                item = self._jobs.get(timeout=None if due is None else max(due - time.monotonic(), 0))
            except queue.Empty:
                item = (RowWriter.commit, Future())
            if item is None:
                break
            self._do(*item)
            self.cpu_s = time.thread_time()
            # counted from the first row that is not durable yet, or a steady flow would put it off for ever
            due = None if not self._db.in_transaction else due or time.monotonic() + self._commit_s
            if due is not None and time.monotonic() >= due:
                self._do(RowWriter.commit, Future())
                due = None
        self._do(RowWriter.commit, Future())
        self._db.close()

    def _do(self, job: Callable[[RowWriter], Any], done: Future[Any]) -> None:
        # an emptied queue lets callers go on that wait in a full one; their next call learns of the error
        if self._error is None:
            try:
                done.set_result(job(self._rows))
                return
            except Exception as error:
                self._error = OutputError(explain(self._path, error))
                self._error.__cause__ = error
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        done.set_exception(self._error)


def explain(path: Path, error: Exception) -> str:
    """One line about why the database cannot be written, and what to do."""
    reason = str(error)
    if "disk is full" in reason:
        return f"{path}: no space left; what was written so far is safe: make room and go on with --resume"
    if "readonly" in reason or "unable to open" in reason:
        return f"{path} cannot be written: check the permissions of the file and its folder"
    if "disk I/O" in reason:
        return f"{path} cannot be written: disk I/O error; is the disk full, or failing?"
    if "locked" in reason:
        return f"{path} is being written by another program: wait for it, or choose another --out"
    return f"{path} cannot be written: {reason}"
