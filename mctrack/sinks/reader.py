"""Reading a run database, as arrays; also while it is being written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from mctrack.errors import OutputError, suggest
from mctrack.sinks.schema import APPLICATION_ID, SCHEMA_VERSION, Boxes, CameraInfo
from mctrack.types import FloatArray, Instant, InstantResult, IntArray, Link, Tracks

_BOX = np.dtype([("frame", "i8"), ("track", "i8"), ("tlwh", "f8", 4), ("score", "f8"), ("state", "i8"),
                 ("ground", "f8", 2)])
_FLAT_BOX = np.dtype([("frame", "i8"), ("track", "i8"), *((c, "f8") for c in "xywhs"), ("state", "i8"),
                      ("gx", "f8"), ("gy", "f8")])
_REPLAY = """
SELECT track_id, x, y, w, h, score, state, IFNULL(
    (SELECT n.global_id FROM names n WHERE n.camera_id = b.camera_id AND n.track_id = b.track_id AND n.instant <= ?
     ORDER BY n.id DESC LIMIT 1), -1)
FROM boxes b WHERE camera_id = ? AND frame = ? ORDER BY track_id
"""
_TIME = np.dtype([("frame", "i8"), ("time_s", "f8")])


class Warned(NamedTuple):
    """A warning of the run; ``time_s`` and ``camera`` are None where it is not about a moment or one camera."""

    time_s: float | None
    camera: str | None
    message: str


class StoreReader:
    """The reading half of a run database. Only what the writer has committed is visible."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._readonly_db: sqlite3.Connection | None = None

    @property
    def meta(self) -> dict[str, str]:
        """Facts about the run: ``created``, ``mctrack_version``, ``config_yaml``, and what else was set."""
        with self._reading() as db:
            return dict(db.execute("SELECT key, value FROM meta ORDER BY key"))

    def cameras(self) -> list[CameraInfo]:
        """The cameras in the run's order."""
        with self._reading() as db:
            rows = db.execute("SELECT name, source, width, height, fps, offset_s FROM cameras ORDER BY camera_id")
            return [CameraInfo(*row) for row in rows]

    def frame_times(self, camera: str) -> tuple[IntArray, FloatArray]:
        """The camera's frames: (n,) increasing 0-based indices and (n,) times in seconds."""
        with self._reading() as db:
            camera_id = self._id(db, camera)
            rows = db.execute("SELECT frame, time_s FROM frames WHERE camera_id = ? ORDER BY frame", [camera_id])
            table = np.fromiter(rows, _TIME)
        return table["frame"].copy(), table["time_s"].copy()

    def boxes(self, camera: str, confirmed_only: bool = True, with_global: bool = True) -> Boxes:
        """The camera's boxes.

        Args:
            camera: the camera's name.
            confirmed_only: leave out tracklets that were never confirmed; the others keep their tentative boxes.
            with_global: look up identities; otherwise they are all −1.
        """
        with self._reading() as db:
            camera_id = self._id(db, camera)
            rows = db.execute(
                "SELECT frame, track_id, x, y, w, h, score, state, IFNULL(ground_x_m, 9e999), IFNULL(ground_y_m, 9e999)"
                " FROM boxes WHERE camera_id = ? ORDER BY frame, track_id", [camera_id],
            )  # fmt: skip
            # x, y, w, h arrive as separate columns; the same bytes read as one field of four
            table = np.fromiter(rows, _FLAT_BOX).view(_BOX)
            tracklets = np.array(
                db.execute(
                    "SELECT track_id, confirmed, IFNULL(global_id, -1) FROM tracklets WHERE camera_id = ?"
                    " ORDER BY track_id", [camera_id],
                ).fetchall(), np.int64,
            ).reshape(-1, 3)  # fmt: skip
            roots = self._roots(db)
        names = np.array([roots.get(g, g) for g in tracklets[:, 2].tolist()], np.int64)
        place = np.searchsorted(tracklets[:, 0], table["track"])
        ground = np.where(np.isfinite(table["ground"]), table["ground"], np.nan)  # SQLite has no NaN, but infinity
        xyxy = table["tlwh"].copy()
        xyxy[:, 2:] += xyxy[:, :2]
        boxes = Boxes(
            table["frame"].copy(), table["track"].copy(),
            names[place] if with_global else np.full(len(table), -1, np.int64),
            xyxy, table["score"].copy(), table["state"].copy(), np.zeros(len(table), bool),
            None if np.isnan(ground).all() else ground,
        )  # fmt: skip
        return boxes.take(tracklets[place, 1] == 1) if confirmed_only else boxes

    def identity_map(self) -> dict[tuple[str, int], int]:
        """(camera, track_id) → global_id of every named tracklet, with merges resolved."""
        with self._reading() as db:
            roots = self._roots(db)
            rows = db.execute(
                "SELECT name, track_id, global_id FROM tracklets JOIN cameras USING (camera_id)"
                " WHERE global_id IS NOT NULL ORDER BY camera_id, track_id"
            )
            return {(camera, track): roots.get(name, name) for camera, track, name in rows}

    def identities(self) -> dict[int, list[int]]:
        """global_id → the identities that were merged into it, of every identity that stands for itself."""
        with self._reading() as db:
            roots = self._roots(db)
            known = [row[0] for row in db.execute("SELECT global_id FROM identities ORDER BY global_id")]
        members: dict[int, list[int]] = {g: [] for g in known if g not in roots}
        for merged, root in sorted(roots.items()):
            members[root].append(merged)
        return members

    def links(self) -> list[Link]:
        """Every decision about an identity, in order."""
        with self._reading() as db:
            return self._links(db)

    def warnings(self) -> list[Warned]:
        """Every warning, in order."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT time_s, name, message FROM warnings LEFT JOIN cameras USING (camera_id) ORDER BY id"
            )
            return [Warned(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Numbers of frames, boxes, confirmed tracklets and the identities that these are."""
        with self._reading() as db:
            row = db.execute(
                "SELECT (SELECT COUNT(*) FROM frames), (SELECT COUNT(*) FROM boxes),"
                " (SELECT COUNT(*) FROM tracklets WHERE confirmed),"
                " (SELECT COUNT(DISTINCT root_id) FROM tracklets JOIN roots USING (global_id) WHERE confirmed)"
            ).fetchone()
        return dict(zip(("frames", "boxes", "tracklets", "identities"), row, strict=True))

    def replay(self, number: int, instant: Instant) -> InstantResult:
        """The result that was written as the ``number``-th (1, 2, …), with its pictures read again.

        Identities are as they were known then. Predicted boxes were not kept and are missing; a frame that was not
        written has no tracks.
        """
        with self._reading() as db:
            roots = self._roots(db, number)
            links = self._links(db, number)
            frames = db.execute(
                "SELECT name, camera_id, frame FROM frames JOIN cameras USING (camera_id) WHERE instant = ?", [number]
            ).fetchall()
            found = {
                (camera, frame): np.array(db.execute(_REPLAY, [number, camera_id, frame]).fetchall()).reshape(-1, 8)
                for camera, camera_id, frame in frames
            }
        tracks, names = [], []
        for shown in instant.frames:
            rows = found.get((shown.camera, shown.index), np.zeros((0, 8)))
            xyxy = rows[:, 1:5].copy()
            xyxy[:, 2:] += xyxy[:, :2]
            ids = rows[:, [0, 6, 7]].astype(np.int64)
            n = len(rows)
            tracks.append(Tracks(ids[:, 0], xyxy, rows[:, 5], ids[:, 1], np.zeros(n), np.arange(n)))
            names.append(np.array([roots.get(g, g) for g in ids[:, 2].tolist()], np.int64))
        return InstantResult(instant, tuple(tracks), tuple(names), tuple(links))

    def close(self) -> None:
        """Let go of the file."""
        if self._readonly_db is not None:
            self._readonly_db.close()
            self._readonly_db = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection on which everything read belongs to one moment."""
        if self._readonly_db is None:
            self._readonly_db = connect_readonly(self.path)
        db = self._readonly_db
        try:
            db.execute("BEGIN")
            yield db
        except sqlite3.Error as error:
            raise OutputError(f"{self.path} cannot be read: {error}") from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _id(self, db: sqlite3.Connection, camera: str) -> int:
        row = db.execute("SELECT camera_id FROM cameras WHERE name = ?", [camera]).fetchone()
        if row is None:
            known = [name for (name,) in db.execute("SELECT name FROM cameras ORDER BY camera_id")]
            hint = suggest(camera, known)
            raise OutputError(f"{self.path} has no camera '{camera}'{hint}; it has {', '.join(known)}")
        return int(row[0])

    @staticmethod
    def _links(db: sqlite3.Connection, instant: int | None = None) -> list[Link]:
        """All links, or those of one instant."""
        where = "" if instant is None else "WHERE instant = ?"
        rows = db.execute(
            "SELECT time_s, name, track_id, IFNULL(global_id, -1), kind, IFNULL(previous_id, -1), distance, runner_up,"
            f" probability, gates FROM links JOIN cameras USING (camera_id) {where} ORDER BY id",
            [] if instant is None else [instant],
        )
        nan = float("nan")
        return [_link(*(nan if v is None else v for v in row)) for row in rows]

    @staticmethod
    def _roots(db: sqlite3.Connection, instant: int | None = None) -> dict[int, int]:
        """Merged identity → where it ended up (or had, up to an instant)."""
        merged: dict[int, int] = dict(db.execute(
            "SELECT global_id, merged_into FROM identities WHERE merged_into IS NOT NULL AND merged_instant <= ?",
            [2**62 if instant is None else instant],
        ))  # fmt: skip
        roots = {}
        for start in merged:
            end = start
            while end in merged:
                end = merged[end]
            roots[start] = end
        return roots


def connect_readonly(path: Path) -> sqlite3.Connection:
    """Open a run database for reading and check that it is one.

    Raises:
        OutputError: there is none, or it is something else or of another version.
    """
    if not path.is_file():
        raise OutputError(f"no run database at {path}: is this a folder that mctrack run wrote?")
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    try:
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            check_version(db, path)
        except sqlite3.OperationalError:
            # WAL needs to create a file beside the database; on read-only media nobody is writing, so go without
            db.close()
            db = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
            check_version(db, path)
    except sqlite3.Error as error:
        raise OutputError(f"{path} cannot be read as a run database: {error}") from error
    return db


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Refuse files that are no run database or of another version."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise OutputError(f"{path} is an SQLite file but not a run database of mctrack")
    if version != SCHEMA_VERSION:
        raise OutputError(
            f"{path} has schema version {version}, this mctrack reads {SCHEMA_VERSION}: use the one that wrote it"
        )


def _link(*columns: Any) -> Link:
    arguments: list[Any] = [*columns[:-1], json.loads(columns[-1])]
    return Link(*arguments)
