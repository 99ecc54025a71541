"""What the run database holds. The comments in the SQL travel with each file: ``sqlite3 run.db .schema`` shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.types import FloatArray, IntArray

SCHEMA_VERSION = 2
"""In ``PRAGMA user_version``; a file of another version is refused with a clear line."""
APPLICATION_ID = 0x6D637472
"""In ``PRAGMA application_id`` ("mctr"): tells a run database from any other SQLite file."""

DDL = """\
CREATE TABLE meta (
    -- Facts about the run as a whole.
    key TEXT PRIMARY KEY,               -- created, mctrack_version, config_yaml, ...
    value TEXT NOT NULL                 -- as text
) WITHOUT ROWID;

CREATE TABLE cameras (
    -- The cameras, in the run's order.
    camera_id INTEGER PRIMARY KEY,      -- 0, 1, ...: what the other tables mean by camera_id
    name TEXT NOT NULL UNIQUE,          -- the name the user knows
    source TEXT NOT NULL,               -- path or URL, without passwords
    width INTEGER NOT NULL,             -- of the picture, in pixels
    height INTEGER NOT NULL,            -- of the picture, in pixels
    fps REAL,                           -- nominal frames per second; NULL where unknown
    offset_s REAL NOT NULL              -- seconds that were added to the camera's own clock
);

CREATE TABLE frames (
    -- Every frame that was tracked, with or without people.
    camera_id INTEGER NOT NULL,         -- cameras.camera_id
    frame INTEGER NOT NULL,             -- 0-based number of the frame in its source
    time_s REAL NOT NULL,               -- on the clock shared by all cameras
    instant INTEGER NOT NULL,           -- 1, 2, ...: frames of one moment share it; rows are written in its order
    PRIMARY KEY (camera_id, frame)
) WITHOUT ROWID;
CREATE INDEX frames_by_instant ON frames (instant);

CREATE TABLE boxes (
    -- Where a track was seen. Frames in which it was only predicted have no row.
    camera_id INTEGER NOT NULL,         -- cameras.camera_id
    frame INTEGER NOT NULL,             -- frames.frame
    track_id INTEGER NOT NULL,          -- tracklets.track_id
    x REAL NOT NULL,                    -- left edge, pixels, 0-based continuous
    y REAL NOT NULL,                    -- top edge, pixels
    w REAL NOT NULL,                    -- width, pixels
    h REAL NOT NULL,                    -- height, pixels
    score REAL NOT NULL,                -- of the detection, 0 to 1
    state INTEGER NOT NULL,             -- 0 tentative, 1 confirmed, 2 lost, 3 removed
    ground_x_m REAL,                    -- where the person stands on the floor by all calibrated cameras, metres
    ground_y_m REAL,                    -- (as known then, the same in all of them); NULL where that is not known
    PRIMARY KEY (camera_id, frame, track_id)
) WITHOUT ROWID;

CREATE TABLE tracklets (
    -- One camera's tracks. Exports hold the confirmed ones, with their earlier tentative boxes.
    camera_id INTEGER NOT NULL,         -- cameras.camera_id
    track_id INTEGER NOT NULL,          -- per camera, never used again
    first_frame INTEGER,                -- first frame with a box; NULL where there is none
    last_frame INTEGER,                 -- last frame with a box
    n_boxes INTEGER NOT NULL,           -- rows in boxes
    confirmed_instant INTEGER,          -- when it was first confirmed; NULL: never
    global_id INTEGER,                  -- its last name in names (see identities.merged_into); NULL: none yet
    confirmed INTEGER GENERATED ALWAYS AS (confirmed_instant IS NOT NULL) VIRTUAL, -- 0 or 1
    PRIMARY KEY (camera_id, track_id)
) WITHOUT ROWID;

CREATE TABLE identities (
    -- People. A merge changes this map and rewrites nothing; an ID is never used again.
    global_id INTEGER PRIMARY KEY,      -- the ID shown on all cameras
    created_time_s REAL NOT NULL,       -- when it was first given
    created_instant INTEGER NOT NULL,   -- the same as instant number
    merged_into INTEGER,                -- this identity turned out to be that one; NULL: it stands for itself
    merged_instant INTEGER              -- when that was found
);

CREATE TABLE names (
    -- The map from tracklet to identity as it changed: the row with the highest id counts.
    id INTEGER PRIMARY KEY,             -- order of the changes
    instant INTEGER NOT NULL,           -- when
    camera_id INTEGER NOT NULL,         -- tracklets.camera_id
    track_id INTEGER NOT NULL,          -- tracklets.track_id
    global_id INTEGER                   -- from now on; NULL: taken away
);
CREATE INDEX names_by_tracklet ON names (camera_id, track_id);
CREATE INDEX names_by_instant ON names (instant);

CREATE TABLE links (
    -- Every decision about an identity, with its reason.
    id INTEGER PRIMARY KEY,             -- order of the decisions
    instant INTEGER NOT NULL,           -- when
    time_s REAL NOT NULL,               -- when, on the shared clock
    camera_id INTEGER NOT NULL,         -- the tracklet it is about
    track_id INTEGER NOT NULL,          -- the tracklet it is about
    global_id INTEGER,                  -- the identity chosen; NULL: none
    kind TEXT NOT NULL,                 -- new, link, merge or unlink
    previous_id INTEGER,                -- the identity before; NULL: none
    distance REAL,                      -- cosine distance to the chosen identity; NULL: appearance had no say
    runner_up REAL,                     -- distance to the second-best identity; NULL: there was none
    probability REAL,                   -- of being the same person; NULL: not calibrated
    gates TEXT NOT NULL                 -- JSON: what each gate said
);
CREATE INDEX links_by_instant ON links (instant);

CREATE TABLE warnings (
    -- What the user should know.
    id INTEGER PRIMARY KEY,             -- order
    instant INTEGER NOT NULL,           -- the last instant written before
    time_s REAL,                        -- on the shared clock; NULL: not about a moment
    camera_id INTEGER,                  -- NULL: not about one camera
    message TEXT NOT NULL               -- one line, without passwords
);

CREATE TABLE checkpoint (
    -- What --resume continues from: one row, replaced in the same transaction as the rows it belongs to.
    id INTEGER PRIMARY KEY CHECK (id = 1), -- always 1
    instant INTEGER NOT NULL,           -- rows up to here belong to it
    number INTEGER NOT NULL,            -- the pipeline's own count of instants
    warning_id INTEGER NOT NULL,        -- warnings up to here belong to it
    state BLOB NOT NULL                 -- mctrack.sinks.state
);

CREATE VIEW roots AS
    -- Each identity with the one it ended up in.
    WITH RECURSIVE root (global_id, root_id) AS (
        SELECT global_id, global_id FROM identities WHERE merged_into IS NULL
        UNION ALL
        SELECT i.global_id, r.root_id FROM identities i JOIN root r ON i.merged_into = r.global_id
    )
    SELECT global_id, root_id FROM root;

CREATE VIEW people AS
    -- For reading by hand: confirmed boxes with names, times and final identities.
    SELECT c.name AS camera, b.frame, f.time_s, b.track_id, r.root_id AS global_id, b.x, b.y, b.w, b.h, b.score
    FROM boxes b
    JOIN cameras c USING (camera_id)
    JOIN frames f USING (camera_id, frame)
    JOIN tracklets t USING (camera_id, track_id)
    LEFT JOIN roots r ON r.global_id = t.global_id
    WHERE t.confirmed;
"""

SCHEMA_DOC = f"""\
# The run database

`run.db` is an SQLite 3 file in WAL mode (`PRAGMA user_version` = {SCHEMA_VERSION}). It is written while the run goes
on and may be read meanwhile, e.g. `sqlite3 -readonly run.db "SELECT * FROM people LIMIT 10"`. While a run is
writing, copy it together with `run.db-wal`.

All rows of an instant are committed together, at the latest `output.commit_s` seconds after they came. Killing the
process loses nothing that was committed; a power cut may lose the last commits (`synchronous=NORMAL`) but leaves a
sound file.

```sql
{DDL}```
"""


@dataclass(frozen=True)
class CameraInfo:
    """A camera as results know it.

    Attributes:
        name: unique, usable as a file name.
        source: path or URL; passwords are removed before it is written anywhere.
        width, height: of the picture in pixels.
        fps: nominal frames per second, None where unknown.
        offset_s: seconds that were added to its clock.
    """

    name: str
    source: str
    width: int
    height: int
    fps: float | None = None
    offset_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Boxes:
    """One camera's boxes; every array has n rows, sorted by frame, then track.

    Attributes:
        frame_index: (n,) 0-based.
        track_id: (n,) per camera.
        global_id: (n,) with merges resolved, −1 where the tracklet has no name.
        xyxy: (n, 4) pixels.
        score: (n,).
        state: (n,) values of :class:`mctrack.types.TrackState`.
        filled: (n,) True where the box was drawn in between two sightings and not seen.
        ground_m: (n, 2) where the person stands on the floor, metres; NaN where that is not known. None: nowhere.
    """

    frame_index: IntArray
    track_id: IntArray
    global_id: IntArray
    xyxy: FloatArray
    score: FloatArray
    state: IntArray
    filled: NDArray[np.bool_]
    ground_m: FloatArray | None = None

    @property
    def ground(self) -> FloatArray:
        """(n, 2) ``ground_m``, NaN where there is none."""
        return np.full((len(self), 2), np.nan) if self.ground_m is None else self.ground_m

    def __len__(self) -> int:
        return len(self.frame_index)

    def take(self, index: NDArray[np.bool_] | IntArray) -> Boxes:
        """The rows at the given indices (or under a boolean mask)."""
        return Boxes(
            self.frame_index[index], self.track_id[index], self.global_id[index], self.xyxy[index],
            self.score[index], self.state[index], self.filled[index],
            None if self.ground_m is None else self.ground_m[index],
        )  # fmt: skip
