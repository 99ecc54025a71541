"""From results to rows: the SQL of writing a run, for one connection in one thread."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.sinks.files import plain
from mctrack.types import FloatArray, InstantResult, IntArray, Link, Tracks, TrackState

_UPSERT_TRACKLET = """
INSERT INTO tracklets (camera_id, track_id, first_frame, last_frame, n_boxes, confirmed_instant, global_id)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (camera_id, track_id) DO UPDATE SET first_frame = excluded.first_frame, last_frame = excluded.last_frame,
    n_boxes = excluded.n_boxes, confirmed_instant = excluded.confirmed_instant, global_id = excluded.global_id
"""
_TOUCHED = """
CREATE TEMP TABLE touched AS
SELECT camera_id, track_id FROM boxes
    WHERE (camera_id, frame) IN (SELECT camera_id, frame FROM frames WHERE instant > :instant)
UNION SELECT camera_id, track_id FROM names WHERE instant > :instant
UNION SELECT camera_id, track_id FROM tracklets WHERE confirmed_instant > :instant
"""
_UNDO = (
    "DELETE FROM boxes WHERE (camera_id, frame) IN (SELECT camera_id, frame FROM frames WHERE instant > :instant)",
    "DELETE FROM frames WHERE instant > :instant",
    "DELETE FROM names WHERE instant > :instant",
    "DELETE FROM links WHERE instant > :instant",
    "DELETE FROM warnings WHERE id > :warning_id",
    "DELETE FROM identities WHERE created_instant > :instant",
    "UPDATE identities SET merged_into = NULL, merged_instant = NULL WHERE merged_instant > :instant",
    "UPDATE tracklets SET confirmed_instant = NULL WHERE confirmed_instant > :instant",
)


@dataclass(slots=True)
class _Tracklet:
    """A row of ``tracklets`` in memory, while its track lives or until the next commit."""

    first_frame: int | None = None
    last_frame: int | None = None
    n_boxes: int = 0
    confirmed_instant: int | None = None
    global_id: int | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """An instant's results without its pictures, which must not wait in a queue."""

    time_s: float
    frames: tuple[tuple[str, int, float, Tracks, IntArray, FloatArray | None], ...]
    links: tuple[Link, ...]

    @staticmethod
    def of(result: InstantResult) -> Rows:
        """What the database keeps of a result."""
        ground = result.ground or (None,) * len(result.tracks)
        frames = zip(result.instant.frames, result.tracks, result.global_ids, ground, strict=True)
        return Rows(
            float(result.instant.time_s),
            tuple((f.camera, int(f.index), float(f.time_s), t, g, xy) for f, t, g, xy in frames),
            result.links,
        )


def _floor_columns(ground: FloatArray | None, seen: NDArray[np.bool_]) -> Sequence[Sequence[float | None]]:
    """Two columns of metres for the seen tracks, None where the place is not known."""
    if ground is None:
        return [[None] * int(seen.sum())] * 2
    return [[None if math.isnan(v) else v for v in column] for column in ground[seen].T.tolist()]


class RowWriter:
    """Writes instants into an open database; nothing is durable before :meth:`commit`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._camera_ids: dict[str, int] = dict(db.execute("SELECT name, camera_id FROM cameras"))
        # tracks that each camera reports at the moment, so that a name is looked up once in a track's life
        self._active: dict[int, dict[int, _Tracklet]] = {i: {} for i in self._camera_ids.values()}
        self._changed: dict[tuple[int, int], _Tracklet] = {}
        self._merged: dict[int, int] = {}
        self.instant = 0
        self._reload()

    def write(self, rows: Rows) -> None:
        """Add one instant: first its decisions about identities, then its frames."""
        self._begin()
        self.instant += 1
        for link in rows.links:
            self._add_link(link)
        for camera, frame, time_s, tracks, global_ids, ground in rows.frames:
            self._add_frame(self._camera_id(camera), frame, time_s, tracks, global_ids, ground)

    def warn(self, message: str, camera: str | None, time_s: float | None) -> None:
        """Add a warning."""
        self._begin()
        camera_id = None if camera is None else self._camera_id(camera)
        self._db.execute(
            "INSERT INTO warnings (instant, time_s, camera_id, message) VALUES (?, ?, ?, ?)",
            (self.instant, time_s, camera_id, message),
        )

    def set_meta(self, key: str, value: str) -> None:
        """Set a fact about the run."""
        self._begin()
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def checkpoint(self, number: int, state: bytes) -> None:
        """Replace the checkpoint; it belongs to everything written before."""
        self._begin()
        self._db.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, (SELECT IFNULL(MAX(id), 0) FROM warnings), ?)",
            (self.instant, number, state),
        )

    def commit(self) -> None:
        """Make everything durable."""
        if self._changed:
            self._db.executemany(_UPSERT_TRACKLET, [
                (*key, t.first_frame, t.last_frame, t.n_boxes, t.confirmed_instant, t.global_id)
                for key, t in self._changed.items()
            ])  # fmt: skip
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._changed.clear()

    def end(self, status: str) -> None:
        """Set the status; a complete run is not resumed, so its checkpoint and the room it took go."""
        self.set_meta("status", status)
        if status == "complete":
            self._db.execute("DELETE FROM checkpoint")
        self.commit()
        free, pages = (self._db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("freelist_count", "page_count"))
        if 2 * free > pages:
            with suppress(sqlite3.OperationalError):  # it needs room beside the file: without it, the file stays large
                self._db.execute("VACUUM")

    def rewind(self) -> tuple[int, bytes] | None:
        """Undo everything after the last checkpoint (everything, where there is none) and return it."""
        self.commit()
        row = self._db.execute("SELECT instant, number, warning_id, state FROM checkpoint").fetchone()
        instant, number, warning_id, state = row or (0, 0, 0, b"")
        undo = {"instant": instant, "warning_id": warning_id}
        self._begin()
        self._db.execute(_TOUCHED, undo)
        for statement in _UNDO:
            self._db.execute(statement, undo)
        self._recount()
        self._db.execute("DROP TABLE touched")
        self._db.execute("COMMIT")
        self._reload()
        return None if row is None else (number, state)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _reload(self) -> None:
        self.instant = self._db.execute(
            "SELECT MAX(IFNULL((SELECT MAX(instant) FROM frames), 0), IFNULL((SELECT MAX(instant) FROM links), 0),"
            " IFNULL((SELECT instant FROM checkpoint), 0))"
        ).fetchone()[0]
        self._merged = dict(self._db.execute("SELECT global_id, merged_into FROM identities WHERE merged_into >= 0"))
        self._active = {i: {} for i in self._active}

    def _camera_id(self, camera: str) -> int:
        try:
            return self._camera_ids[camera]
        except KeyError:
            raise ValueError(f"camera '{camera}' is not one of this run's: {', '.join(self._camera_ids)}") from None

    def _tracklet(self, camera_id: int, track_id: int) -> _Tracklet:
        found = self._active[camera_id].get(track_id) or self._changed.get((camera_id, track_id))
        if found is None:
            row = self._db.execute(
                "SELECT first_frame, last_frame, n_boxes, confirmed_instant, global_id FROM tracklets"
                " WHERE camera_id = ? AND track_id = ?",
                (camera_id, track_id),
            ).fetchone()
            found = _Tracklet(*row) if row else _Tracklet()
        return found

    def _add_frame(
        self, camera_id: int, frame: int, time_s: float, tracks: Tracks, global_ids: IntArray, ground: FloatArray | None
    ) -> None:
        self._db.execute("INSERT INTO frames VALUES (?, ?, ?, ?)", (camera_id, frame, time_s, self.instant))
        seen = tracks.seen
        xyxy = tracks.xyxy[seen]
        columns = zip(
            tracks.track_id[seen].tolist(), xyxy[:, 0].tolist(), xyxy[:, 1].tolist(),
            (xyxy[:, 2] - xyxy[:, 0]).tolist(), (xyxy[:, 3] - xyxy[:, 1]).tolist(),
            tracks.score[seen].tolist(), tracks.state[seen].tolist(), *_floor_columns(ground, seen), strict=True,
        )  # fmt: skip
        self._db.executemany(
            "INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [(camera_id, frame, *c) for c in columns]
        )
        active = {}
        rows = zip(tracks.track_id.tolist(), seen.tolist(), tracks.state.tolist(), global_ids.tolist(), strict=True)
        for track_id, is_seen, state, global_id in rows:
            tracklet = active[track_id] = self._tracklet(camera_id, track_id)
            if is_seen:
                if tracklet.n_boxes == 0:
                    tracklet.first_frame = frame
                tracklet.last_frame = frame
                tracklet.n_boxes += 1
            newly_confirmed = state == TrackState.CONFIRMED and tracklet.confirmed_instant is None
            if newly_confirmed:
                tracklet.confirmed_instant = self.instant
            if is_seen or newly_confirmed:
                self._changed[camera_id, track_id] = tracklet
            # normally the links have said it already; this is for an associator that gives no reasons
            if global_id >= 0 and tracklet.global_id != global_id:
                self._name(camera_id, track_id, tracklet, global_id, time_s)
        self._active[camera_id] = active

    def _add_link(self, link: Link) -> None:
        camera_id = self._camera_id(link.camera)
        chosen, previous = (None if i < 0 else int(i) for i in (link.global_id, link.previous_id))
        numbers = (None if math.isnan(v) else float(v) for v in (link.distance, link.runner_up, link.probability))
        self._db.execute(
            "INSERT INTO links (instant, time_s, camera_id, track_id, global_id, kind, previous_id, distance,"
            " runner_up, probability, gates) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.instant, float(link.time_s), camera_id, int(link.track_id), chosen, str(link.kind), previous,
             *numbers, json.dumps(plain(link.gates))),
        )  # fmt: skip
        tracklet = self._tracklet(camera_id, int(link.track_id))
        if tracklet.global_id != chosen:
            self._name(camera_id, int(link.track_id), tracklet, chosen, link.time_s)
        if link.kind == "merge" and chosen is not None and previous is not None:
            self._merge(previous, chosen, link.time_s)

    def _name(
        self, camera_id: int, track_id: int, tracklet: _Tracklet, global_id: int | None, time_s: float
    ) -> None:
        if global_id is not None:
            self._add_identity(global_id, time_s)
        # an array that carries a merged identity's new number says nothing new: one merge is one row
        if tracklet.global_id is not None and global_id is not None and self._root(tracklet.global_id) == global_id:
            return
        tracklet.global_id = global_id
        self._changed[camera_id, track_id] = tracklet
        self._db.execute(
            "INSERT INTO names (instant, camera_id, track_id, global_id) VALUES (?, ?, ?, ?)",
            (self.instant, camera_id, track_id, global_id),
        )

    def _add_identity(self, global_id: int, time_s: float) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO identities (global_id, created_time_s, created_instant) VALUES (?, ?, ?)",
            (global_id, float(time_s), self.instant),
        )

    def _merge(self, previous: int, chosen: int, time_s: float) -> None:
        self._add_identity(previous, time_s)
        # roots only: each identity is merged at most once, so a rewind can take it back, and no ring can form
        old, new = self._root(previous), self._root(chosen)
        if old != new:
            self._merged[old] = new
            self._db.execute(
                "UPDATE identities SET merged_into = ?, merged_instant = ? WHERE global_id = ?",
                (new, self.instant, old),
            )

    def _root(self, global_id: int) -> int:
        while global_id in self._merged:
            global_id = self._merged[global_id]
        return global_id

    def _recount(self) -> None:
        """Bring the tracklets that lost rows in line with what is left of their boxes and names."""
        cameras = self._db.execute(
            "SELECT camera_id, MIN(first_frame) FROM touched JOIN tracklets USING (camera_id, track_id)"
            " GROUP BY camera_id"
        ).fetchall()
        self._db.execute(
            "CREATE TEMP TABLE counts (camera_id, track_id, last_frame, n, PRIMARY KEY (camera_id, track_id))"
        )
        for camera_id, first in cameras:
            # their boxes begin at their first frame, so one walk from there sees all of them
            self._db.execute(
                "INSERT INTO counts SELECT camera_id, track_id, MAX(frame), COUNT(*) FROM boxes"
                " WHERE camera_id = ? AND frame >= ? GROUP BY track_id",
                (camera_id, first or 0),
            )
        here = "FROM counts c WHERE c.camera_id = tracklets.camera_id AND c.track_id = tracklets.track_id"
        self._db.execute(
            f"UPDATE tracklets SET n_boxes = IFNULL((SELECT n {here}), 0), last_frame = (SELECT last_frame {here}),"
            f" first_frame = CASE WHEN EXISTS (SELECT 1 {here}) THEN first_frame END,"
            " global_id = (SELECT global_id FROM names n WHERE n.camera_id = tracklets.camera_id"
            "              AND n.track_id = tracklets.track_id ORDER BY n.id DESC LIMIT 1)"
            " WHERE (camera_id, track_id) IN (SELECT camera_id, track_id FROM touched)"
        )
        self._db.execute("DROP TABLE counts")
        self._db.execute(
            "DELETE FROM tracklets WHERE n_boxes = 0 AND confirmed_instant IS NULL"
            " AND (camera_id, track_id) IN (SELECT camera_id, track_id FROM touched)"
            " AND NOT EXISTS (SELECT 1 FROM names n"
            "                 WHERE n.camera_id = tracklets.camera_id AND n.track_id = tracklets.track_id)"
        )
