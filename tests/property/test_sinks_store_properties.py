"""The run database: what a killed and resumed run leaves equals what an uninterrupted one leaves."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.sinks.schema import CameraInfo
from mctrack.sinks.store import RunStore
from mctrack.types import Frame, Instant, InstantResult, Link, Tracks, TrackState

Op = tuple[Any, ...]
TABLES = ("cameras", "frames", "boxes", "tracklets", "identities", "names", "links", "warnings", "checkpoint")


class Crowd:
    """A stream of random but lawful results, with the map from tracklet to identity that it stands for."""

    def __init__(self, seed: int, cameras: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.cameras = [f"cam{i}" for i in range(cameras)]
        self.alive: dict[str, dict[int, int]] = {c: {} for c in self.cameras}  # track_id → TrackState
        self.frame = dict.fromkeys(self.cameras, 0)
        self.next_track = dict.fromkeys(self.cameras, 1)
        self.next_name = 1
        self.heir: dict[int, int] = {}
        self.name: dict[tuple[str, int], int] = {}

    def root(self, name: int) -> int:
        while name in self.heir:
            name = self.heir[name]
        return name

    def instant(self, number: int) -> InstantResult:
        frames, tracks = [], []
        for camera in self.cameras:
            if self.rng.random() < 0.8:
                frames.append(Frame(camera, self.frame[camera], number / 10, None, (640, 480)))
                tracks.append(self._tracks(camera))
                self.frame[camera] += int(self.rng.integers(1, 3))
        links = self._links(number / 10)
        names = tuple(
            np.array([self.root(self.name.get((f.camera, t), -1)) for t in k.track_id.tolist()], np.int64)
            for f, k in zip(frames, tracks, strict=True)
        )
        return InstantResult(Instant(number / 10, tuple(frames)), tuple(tracks), names, links)

    def _tracks(self, camera: str) -> Tracks:
        alive = self.alive[camera]
        for track in [t for t in alive if self.rng.random() < 0.15]:
            del alive[track]
        for track in alive:
            if self.rng.random() < 0.5:
                alive[track] = int(self.rng.integers(0, 3))
        for _ in range(self.rng.integers(0, 3)):
            alive[self.next_track[camera]] = int(self.rng.integers(0, 2))
            self.next_track[camera] += 1
        n = len(alive)
        corner = self.rng.uniform(0, 400, (n, 2))
        seen = np.where(self.rng.random(n) < 0.7, np.arange(n), -1)
        return Tracks(
            np.array(list(alive), np.int64), np.hstack([corner, corner + self.rng.uniform(5, 50, (n, 2))]),
            self.rng.random(n), np.array(list(alive.values()), np.int64), np.zeros(n), seen,
        )  # fmt: skip

    def _links(self, time_s: float) -> tuple[Link, ...]:
        links = []
        for camera in self.cameras:
            for track in range(1, self.next_track[camera]):  # those long gone too
                dice = self.rng.random()
                old = self.name.get((camera, track), -1)
                if old < 0 and dice < 0.3:
                    known = dice >= 0.2 and self.next_name > 1
                    new = int(self.rng.integers(1, self.next_name)) if known else self.next_name
                    kind = "new" if new == self.next_name else "link"
                elif old >= 0 and dice < 0.03:
                    new, kind = (-1 if dice < 0.015 else self.next_name), "unlink"
                elif old >= 0 and dice < 0.15:
                    new, kind = int(self.rng.integers(1, self.next_name)), "merge"
                    if self.root(new) == self.root(old):
                        continue
                    self.heir[self.root(old)] = self.root(new)
                else:
                    continue
                self.next_name += new == self.next_name
                self.name[camera, track] = new
                gates = {"a": True, "b": float(self.rng.random()), "c": np.float32(0.5)}
                links.append(Link(time_s, camera, track, new, kind, old, float(self.rng.random()), gates=gates))
        return tuple(links)


def operations(seed: int, cameras: int, instants: int) -> tuple[Crowd, list[Op]]:
    crowd, rng = Crowd(seed, cameras), np.random.default_rng(seed + 1)
    ops: list[Op] = []
    for number in range(1, instants + 1):
        ops.append(("write", crowd.instant(number)))
        for _ in range(3):
            dice = rng.random()
            if dice < 0.25:
                ops.append(("checkpoint", {"position": len(ops), "a": rng.random(3)}))
            elif dice < 0.5:
                ops.append(("warn", f"warning {len(ops)}", crowd.cameras[0] if crowd.cameras and dice < 0.4 else None))
            elif dice < 0.8:
                ops.append(("flush",))
    return crowd, ops


def apply(store: RunStore, ops: list[Op], start: int = 0, end: int | None = None) -> None:
    for position, (what, *arguments) in enumerate(ops[start:end], start):
        if what == "checkpoint":
            store.checkpoint(position, *arguments)
        else:
            getattr(store, what)(*arguments)


def dump(path: Path) -> dict[str, list[Any]]:
    with sqlite3.connect(path) as db:
        tables = {t: db.execute(f"SELECT * FROM {t} ORDER BY 1, 2, 3").fetchall() for t in TABLES}
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    return tables


def crash(store: RunStore, target: Path) -> Path:
    """What a killed process leaves: the files as they are, with whatever was not committed missing."""
    assert store._writer is not None
    store._writer.call(lambda rows: None)  # the queue has run empty, nothing more is committed
    target.mkdir()
    for file in store.path.parent.glob("run.db*"):
        if not file.name.endswith("-shm"):  # shared memory; made anew from the log
            shutil.copy(file, target)
    return target / "run.db"


def infos(crowd: Crowd) -> list[CameraInfo]:
    return [CameraInfo(c, "x", 640, 480, 25.0) for c in crowd.cameras]


@given(
    seed=st.integers(0, 2**31), cameras=st.integers(0, 3), instants=st.integers(0, 25),
    kills=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_killed_and_resumed_equals_uninterrupted(seed: int, cameras: int, instants: int, kills: list[float]) -> None:
    crowd, ops = operations(seed, cameras, instants)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with RunStore.create(folder / "whole" / "run.db", infos(crowd), "") as store:
            apply(store, ops)
        expected = dump(folder / "whole" / "run.db")

        store, position = RunStore.create(folder / "0" / "run.db", infos(crowd), "", commit_s=100), 0
        for i, kill in enumerate(kills, 1):
            end = position + round(kill * (len(ops) - position))
            apply(store, ops, position, end)
            path = crash(store, folder / str(i))
            store.close()
            store = RunStore.open(path, readonly=False, commit_s=100)
            found = store.rewind()
            position = 0 if found is None else found[0] + 1
            if found is not None:
                assert found[1]["position"] == found[0]
                np.testing.assert_array_equal(found[1]["a"], ops[found[0]][1]["a"])
            # right after a rewind there is exactly what was there at the checkpoint
            reference = folder / f"upto{i}" / "run.db"
            with RunStore.create(reference, infos(crowd), "") as upto:
                apply(upto, ops, 0, position)
            assert dump(path) == dump(reference)
        apply(store, ops, position)
        store.close()
        assert dump(store.path) == expected


@given(seed=st.integers(0, 2**31), cameras=st.integers(1, 3), instants=st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_reads_back_what_was_written(seed: int, cameras: int, instants: int) -> None:
    crowd, ops = operations(seed, cameras, instants)
    written = [r for what, r, *_ in (o for o in ops if len(o) > 1) if what == "write"]
    with tempfile.TemporaryDirectory() as name, RunStore.create(Path(name) / "run.db", infos(crowd), "") as store:
        apply(store, ops)
        store.flush()
        assert store.identity_map() == {k: crowd.root(v) for k, v in crowd.name.items() if v >= 0}
        assert [(k.track_id, k.global_id, k.kind) for k in store.links()] == [
            (k.track_id, k.global_id, k.kind) for r in written for k in r.links
        ]
        for camera in crowd.cameras:
            _check_camera(store, camera, written, crowd)
        for number, result in enumerate(written, 1):
            _check_replay(store, number, result)


def _check_camera(store: RunStore, camera: str, written: list[InstantResult], crowd: Crowd) -> None:
    shown = [(f, t) for r in written for f, t in zip(r.instant.frames, r.tracks, strict=True) if f.camera == camera]
    index, time_s = store.frame_times(camera)
    assert index.tolist() == [f.index for f, _ in shown]
    assert time_s.tolist() == [f.time_s for f, _ in shown]
    confirmed = {t for _, k in shown for t, s in zip(k.track_id, k.state, strict=True) if s == TrackState.CONFIRMED}
    every = [(f.index, int(t), k, i) for f, k in shown for i, t in enumerate(k.track_id) if k.detection_index[i] >= 0]
    for only in (True, False):
        boxes = store.boxes(camera, confirmed_only=only)
        rows = sorted((r for r in every if not only or r[1] in confirmed), key=lambda r: r[:2])
        assert list(zip(boxes.frame_index, boxes.track_id, strict=True)) == [r[:2] for r in rows]
        expected = np.array([k.xyxy[i] for _, _, k, i in rows]).reshape(-1, 4)
        np.testing.assert_allclose(boxes.xyxy, expected, rtol=0, atol=1e-9)
        assert boxes.score.tolist() == [k.score[i] for _, _, k, i in rows]
        assert boxes.state.tolist() == [k.state[i] for _, _, k, i in rows]
        assert boxes.global_id.tolist() == [crowd.root(crowd.name.get((camera, r[1]), -1)) for r in rows]
    counts = Counter(r[1] for r in every)
    with sqlite3.connect(store.path) as db:
        rows = db.execute(
            "SELECT track_id, n_boxes, first_frame, last_frame, confirmed FROM tracklets JOIN cameras USING (camera_id)"
            " WHERE name = ?", [camera],
        ).fetchall()  # fmt: skip
    db.close()
    for track, n, first, last, is_confirmed in rows:
        frames = [r[0] for r in every if r[1] == track]
        assert (n, first, last) == (counts[track], min(frames, default=None), max(frames, default=None))
        assert is_confirmed == (track in confirmed)


def _check_replay(store: RunStore, number: int, result: InstantResult) -> None:
    again = store.replay(number, result.instant)
    assert [(k.camera, k.global_id) for k in again.links] == [(k.camera, k.global_id) for k in result.links]
    both = zip(again.tracks, again.global_ids, result.tracks, result.global_ids, strict=True)
    for tracks, names, old, old_names in both:
        order = np.argsort(old.track_id)
        order = order[old.seen[order]]
        np.testing.assert_array_equal(tracks.track_id, old.track_id[order])
        np.testing.assert_array_equal(names, old_names[order])
        np.testing.assert_array_equal(tracks.state, old.state[order])
        assert tracks.seen.all()
