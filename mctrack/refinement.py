"""The second pass over a finished run: look at every tracklet again, refine who is who, say what changed and why."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mctrack.errors import OutputError
from mctrack.folder import STORE_FILE, check_folder

if TYPE_CHECKING:
    from mctrack.associate.calibration import SceneCalibration
    from mctrack.associate.paths import FloorEvidence
    from mctrack.associate.paths import Path as FloorPath
    from mctrack.associate.refine import Pieces, RefineOptions
    from mctrack.config import RunConfig
    from mctrack.embed.frames import Embedder
    from mctrack.geometry.site import Site
    from mctrack.sinks.reader import StoreReader
    from mctrack.sinks.schema import Boxes
    from mctrack.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Sampled:
    """One tracklet: its rows of the camera's boxes, its name, and looks (k, d) with quality at some of its frames."""

    camera: str
    track_id: int
    name: int
    frames: IntArray
    times_s: FloatArray
    xyxy: FloatArray
    look_frame: IntArray
    look: np.ndarray
    quality: FloatArray


CHANGES_FILE = "changes.json"
SIGHT_GAP_S = 2.0
"""A tracklet that was not seen for longer than this has two sights, that may be of two people."""
ALONE_S = 5.0
"""What was cut off for its looks, fits nobody and is no longer than this was the same person, half hidden."""
Part = tuple[Sampled, int, int, int, int]
"""A stretch of a tracklet: its rows from, to; its looks from, to (ends excluded)."""


@dataclass(frozen=True)
class Refined:
    """What came of it: the folder, identities before and after, and the changes as written to ``changes.json``."""

    folder: Path
    before: int
    after: int
    changes: list[dict[str, Any]]


def refine_run(
    run: Path, out: Path | None = None, *, samples: int = 16, bridge_s: float = 2.0, reid: str | None = None,
    device: str = "auto", options: RefineOptions | None = None, say: Callable[[str], None] = print,
) -> Refined:  # fmt: skip
    """Refine a run's identities; nothing of the run itself changes.

    Args:
        run: folder of a finished run; its videos are read again.
        out: where to write ``tracks/``, ``tracks.csv``, ``identities.json`` and ``changes.json``; default
            ``run/refined``.
        samples: looks taken of each tracklet.
        bridge_s: see :class:`mctrack.sinks.refined.RefinedReader`.
        reid: embedder, where not that of the run.

    Raises:
        OutputError: there is no finished run, or ``out`` holds one, or other tables, or is no folder.
        MctrackError: its videos or its embedder cannot be used any more.
    """
    from mctrack.associate.refine import refine
    from mctrack.associate.transitions import Transitions
    from mctrack.sinks.identities import write_identities
    from mctrack.sinks.reader import StoreReader
    from mctrack.sinks.refined import RefinedReader
    from mctrack.sinks.tables import write_csv, write_mot

    store = StoreReader(run / STORE_FILE)
    if store.meta.get("status") not in ("complete", "interrupted"):
        raise OutputError(f"{run} is not finished: end it with 'mctrack run --resume --out {run}' first")
    folder = out or run / "refined"
    _check_out(folder)
    config = _config(store, run)
    embedder = _embedder(config, reid, device)
    tracklets = _sample(store, config, embedder, samples, say)
    scene = _calibration(embedder)
    parts = _parts(store, tracklets, scene, options)
    cameras = [c.name for c in store.cameras()]
    site = _site(store, config, say)

    def decide() -> tuple[Pieces, list[FloorPath] | None, IntArray]:
        pieces, paths = _table(parts, cameras), _paths(store, site, parts)
        # new ones every time: what they learned was of pieces that are no more
        transitions = Transitions(config.associate.transitions, cameras, config.associate.learn_transitions)
        return pieces, paths, refine(pieces, scene, options, transitions, cameras, _floor(pieces, paths))

    pieces, paths, names = decide()
    if (whole := _without_idle_cuts(parts, names)) is not None:
        parts = whole
        pieces, paths, names = decide()
    if (straight := _without_strays(parts, pieces, paths, names)) is not None:
        parts = straight
        pieces, paths, names = decide()
    stretches = _stretches(pieces, names, cameras)
    changes = _changes(pieces, names, cameras, scene)
    folder.mkdir(parents=True, exist_ok=True)
    # First of all: by this file a folder is known as ours.
    _write_changes(folder / CHANGES_FILE, changes)
    refined = RefinedReader(run / STORE_FILE, stretches, bridge_s)
    fill = config.output.fill_gap_s
    for written in (write_mot(refined, folder / "tracks", fill), write_csv(refined, folder / "tracks.csv", fill),
                    write_identities(refined, folder / "identities.json")):  # fmt: skip
        for line in written.warnings:
            say(f"warning: {line}")
    before, after = len(set(pieces.name[pieces.name >= 0].tolist())), len(set(names.tolist()))
    refined.close()
    store.close()
    return Refined(folder, before, after, changes)


# ---------------------------------------------------------------------------------------- reading the run again


def _check_out(folder: Path) -> None:
    """Refuse a folder where something else would be lost."""
    if (folder / STORE_FILE).exists():
        raise OutputError(f"{folder} holds a run, and a run stays as it is: give another --out")
    check_folder(folder)
    lost = next((p for p in map(folder.joinpath, ("identities.json", "tracks.csv", "tracks")) if p.exists()), None)
    if lost is not None and not (folder / CHANGES_FILE).exists():
        raise OutputError(f"{lost} is there already, and no earlier refine wrote it: it would be lost; give another "
                          "--out")


def _config(store: StoreReader, run: Path) -> RunConfig:
    from mctrack.config import RunConfig, parse_config

    return parse_config(RunConfig, store.meta["config_yaml"], str(run / STORE_FILE))


def _embedder(config: RunConfig, reid: str | None, device: str) -> Embedder | None:
    from dataclasses import replace

    from mctrack.embed.frames import load_embedder

    wanted = reid or config.reid.name
    return None if wanted == "none" else load_embedder(replace(config.reid, name=wanted), device)


def _calibration(embedder: Embedder | None) -> SceneCalibration:
    from mctrack.associate.calibration import SceneCalibration
    from mctrack.track.rebirth import generic_probability

    return SceneCalibration(generic_probability if embedder is None else embedder.calibration.probability)


def _sample(store: StoreReader, config: RunConfig, embedder: Embedder | None, samples: int,
            say: Callable[[str], None]) -> list[Sampled]:  # fmt: skip
    """Every confirmed tracklet with looks at its best frames, spread over its time."""
    out: list[Sampled] = []
    sizes = {c.name: (c.width, c.height) for c in store.cameras()}
    boxes = {c: store.boxes(c) for c in sizes}
    names = store.identity_map()
    wanted: dict[str, dict[int, list[tuple[int, int]]]] = {c: defaultdict(list) for c in sizes}
    chosen: dict[tuple[str, int], IntArray] = {}
    grades = {c: _grades(b, sizes[c]) for c, b in boxes.items()}
    boxes_s = {c: _times(store, c, b) for c, b in boxes.items()}
    for camera, table in boxes.items():
        for track_id in np.unique(table.track_id).tolist():
            rows = np.flatnonzero(table.track_id == track_id)
            times_s = boxes_s[camera][rows]
            rows = np.concatenate([_spread(rows[p], grades[camera][rows[p]], samples) for p in _sights(times_s)])
            chosen[camera, track_id] = rows
            for row in rows.tolist():
                wanted[camera][int(table.frame_index[row])].append((track_id, row))
    looks = {} if embedder is None else _looks(config, boxes, wanted, embedder, say)
    for camera, table in boxes.items():
        for track_id in np.unique(table.track_id).tolist():
            mine = np.flatnonzero(table.track_id == track_id)
            rows = np.array([r for r in chosen[camera, track_id].tolist() if (camera, r) in looks], np.int64)
            look = np.stack([looks[camera, r] for r in rows.tolist()]) if len(rows) else np.zeros((0, 1))
            out.append(Sampled(
                camera, track_id, names.get((camera, track_id), -1), table.frame_index[mine], boxes_s[camera][mine],
                table.xyxy[mine], table.frame_index[rows], look, grades[camera][rows],
            ))  # fmt: skip
    return out


def _times(store: StoreReader, camera: str, boxes: Boxes) -> FloatArray:
    """(n,) when each box was seen."""
    frame_index, times_s = store.frame_times(camera)
    return np.asarray(times_s[np.searchsorted(frame_index, boxes.frame_index)])


def _grades(boxes: Boxes, size: tuple[int, int]) -> FloatArray:
    """(n,) quality of each box's crop, judged among the boxes of its frame."""
    from mctrack.embed.crops import quality

    out = np.zeros(len(boxes))
    order = np.argsort(boxes.frame_index, kind="stable")
    ends = np.flatnonzero(np.diff(boxes.frame_index[order])) + 1
    for rows in np.split(order, ends):
        if len(rows):
            out[rows] = quality(boxes.xyxy[rows], boxes.score[rows], size)
    return out


def _spread(rows: IntArray, grade: FloatArray, count: int) -> IntArray:
    """The best row of each of ``count`` equal parts of a tracklet."""
    parts = np.array_split(np.arange(len(rows)), min(count, len(rows)))
    best = [int(part[grade[part].argmax()]) for part in parts]
    return rows[[b for b in best if grade[b] > 0.02]]


def _looks(config: RunConfig, boxes: dict[str, Boxes], wanted: dict[str, dict[int, list[tuple[int, int]]]],
           embedder: Embedder, say: Callable[[str], None]) -> dict[tuple[str, int], np.ndarray]:  # fmt: skip
    """(camera, row) → unit look, from the videos themselves."""
    from dataclasses import replace

    from mctrack.embed.crops import cut_crops
    from mctrack.video.cameras import parse_cameras
    from mctrack.video.reader import open_source

    out: dict[tuple[str, int], np.ndarray] = {}
    for spec in parse_cameras(config.cams):
        frames = wanted.get(spec.name, {})
        if not frames:
            continue
        if spec.live:
            say(f"warning: {spec.name} is a live camera: its people cannot be looked at again")
            continue
        say(f"{spec.name}: looking again at {sum(map(len, frames.values()))} crops")
        last = max(frames)
        with_images = open_source(spec, replace(config.video, max_frames=None), images_from=min(frames))
        try:
            for frame in with_images:
                if frame.index in frames and frame.image is not None:
                    rows = [row for _, row in frames[frame.index]]
                    crops = cut_crops(frame.image, boxes[spec.name].xyxy[rows])
                    good = [(r, c) for r, c in zip(rows, crops, strict=True) if c.size]
                    vectors = embedder.embed([c for _, c in good])
                    out.update({(spec.name, r): v for (r, _), v in zip(good, vectors, strict=True)})
                if frame.index >= last:
                    break
        finally:
            with_images.close()
    return out


# ---------------------------------------------------------------------------------------- pieces and their story


def _parts(store: StoreReader, tracklets: Sequence[Sampled], scene: SceneCalibration,
           options: RefineOptions | None) -> list[Part]:  # fmt: skip
    """Tracklets, cut where nobody was seen for long and where they swapped people; the scene is learned on the way."""
    from mctrack.associate.refine import RefineOptions, learn_scene, split_place

    limit = (options or RefineOptions()).split
    cameras = [c.name for c in store.cameras()]
    sights: list[Part] = []
    for t in tracklets:
        for rows in _sights(t.times_s):
            a, b = np.searchsorted(t.look_frame, t.frames[[rows[0], rows[-1]]] + [0, 1])
            sights.append((t, int(rows[0]), int(rows[-1]) + 1, int(a), int(b)))
    halves = [(cameras.index(t.camera), t.track_id, _halves(t, a, b)) for t, _, _, a, b in sights if b - a >= 4]
    learn_scene(_table(sights, cameras), halves, scene)
    parts: list[Part] = []
    for t, first, last, a, b in sights:
        place = split_place(t.look[a:b], t.quality[a:b], scene, limit)
        if place is None:
            parts.append((t, first, last, a, b))
            continue
        middle = (int(t.look_frame[a + place - 1]) + int(t.look_frame[a + place])) // 2
        row = int(np.searchsorted(t.frames, middle, side="right"))
        parts += [(t, first, row, a, a + place), (t, row, last, a + place, b)]
    return parts


def _sights(times_s: FloatArray) -> list[IntArray]:
    """A tracklet's rows, parted where it was out of sight: a tracker that takes it up again after that may be wrong."""
    return np.split(np.arange(len(times_s)), np.flatnonzero(np.diff(times_s) > SIGHT_GAP_S) + 1)


def _site(store: StoreReader, config: RunConfig, say: Callable[[str], None]) -> Site | None:
    """The run's calibration; None in a run without, or where it is gone."""
    from mctrack.errors import MctrackError
    from mctrack.geometry.site import load_site

    if config.calib is None:
        return None
    try:
        return load_site(config.calib, {c.name: (c.width, c.height) for c in store.cameras()})
    except MctrackError as error:
        say(f"warning: refined without the calibration: {error}")
        return None


def _paths(store: StoreReader, site: Site | None, parts: Sequence[Part]) -> list[FloorPath] | None:
    """Where the pieces stood by their own cameras' calibration; None without one."""
    from mctrack.associate.paths import Path as FloorPath
    from mctrack.geometry.foot import stand

    if site is None:
        return None
    sizes = {c.name: (c.width, c.height) for c in store.cameras()}
    out = []
    for t, first, last, *_ in parts:
        if t.camera not in site.cameras:
            out.append(FloorPath.empty())
            continue
        at = stand(site.cameras[t.camera], t.xyxy[first:last], sizes[t.camera])
        at.xy[~site.inside(np.nan_to_num(at.xy))] = np.nan
        out.append(FloorPath(t.times_s[first:last], at.xy, at.cov))
    return out


def _floor(pieces: Pieces, paths: list[FloorPath] | None) -> FloorEvidence | None:
    from mctrack.associate.paths import floor_evidence

    return None if paths is None else floor_evidence(pieces.camera, paths)


def _without_idle_cuts(parts: Sequence[Part], names: IntArray) -> list[Part] | None:
    """The pieces, joined where a cut found nobody else for a short part of the two; None if there are none.

    A tracker that goes on without a gap says more than a look that fits nobody: whoever is half hidden looks so.
    """
    out: list[Part] = []
    alone = [int((names == name).sum()) == 1 for name in names.tolist()]
    lonely: list[bool] = []
    for (t, first, last, a, b), by_itself in zip(parts, alone, strict=True):
        short = by_itself and t.times_s[last - 1] - t.times_s[first] <= ALONE_S
        if out and out[-1][0] is t and out[-1][2] == first and out[-1][4] == a and (short or lonely[-1]) \
                and t.times_s[first] - t.times_s[first - 1] <= SIGHT_GAP_S:  # fmt: skip
            out[-1], lonely[-1] = (t, out[-1][1], last, out[-1][3], b), False
        else:
            out.append((t, first, last, a, b))
            lonely.append(bool(short))
    return out if len(out) < len(parts) else None


def _without_strays(parts: list[Part], pieces: Pieces, paths: list[FloorPath] | None,
                    names: IntArray) -> list[Part] | None:  # fmt: skip
    """The pieces, cut where one went off with somebody else by what the other cameras saw; None if none did."""
    from mctrack.associate.paths import strays

    cuts = {} if paths is None else strays(pieces.camera, paths, names)
    if not cuts:
        return None
    out: list[Part] = []
    for i, (t, first, last, a, b) in enumerate(parts):
        row = first + int(np.searchsorted(t.times_s[first:last], cuts.get(i, np.inf)))
        if not first < row < last:
            out.append((t, first, last, a, b))
            continue
        look = a + int(np.searchsorted(t.look_frame[a:b], t.frames[row]))
        out += [(t, first, row, a, look), (t, row, last, look, b)]
    return out


def _halves(t: Sampled, first: int, last: int) -> float:
    """Distance of the earlier from the later half of some of its looks."""
    from mctrack.associate.looks import unit

    middle = (first + last) // 2
    weighted = t.look * t.quality[:, None]
    return 1.0 - float(unit(weighted[first:middle].sum(0)) @ unit(weighted[middle:last].sum(0)))


def _table(parts: Sequence[Part], cameras: Sequence[str]) -> Pieces:
    from mctrack import boxes
    from mctrack.associate.looks import unit
    from mctrack.associate.refine import Pieces

    n = len(parts)
    dim = max((t.look.shape[1] for t, *_ in parts if len(t.look)), default=1)
    look, weight = np.zeros((n, dim)), np.zeros(n)
    for i, (t, _, _, a, b) in enumerate(parts):
        if b > a:
            total = (t.look[a:b] * t.quality[a:b, None]).sum(axis=0)
            look[i], weight[i] = unit(total), min(float(t.quality[a:b].sum()), 8.0)
    firsts = [(t, first) for t, first, *_ in parts]
    lasts = [(t, last - 1) for t, _, last, *_ in parts]

    def whole(values: list[int]) -> IntArray:
        return np.array(values, np.int64)

    def box(at: list[tuple[Sampled, int]]) -> FloatArray:
        return boxes.xyxy_to_xcycwh(np.array([t.xyxy[k] for t, k in at], float).reshape(-1, 4))

    return Pieces(
        whole([cameras.index(t.camera) for t, *_ in parts]), whole([t.track_id for t, *_ in parts]),
        np.array([t.times_s[k] for t, k in firsts]), np.array([t.times_s[k] for t, k in lasts]),
        whole([int(t.frames[k]) for t, k in firsts]), whole([int(t.frames[k]) for t, k in lasts]),
        box(firsts), box(lasts), look, weight, whole([t.name for t, *_ in parts]),
    )  # fmt: skip


def _stretches(pieces: Pieces, names: IntArray, cameras: Sequence[str]) -> dict[tuple[str, int], list[Any]]:
    from mctrack.sinks.refined import Stretch

    out: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for i in range(len(pieces)):
        key = (cameras[int(pieces.camera[i])], int(pieces.track_id[i]))
        out[key].append(Stretch(int(pieces.begin_frame[i]), int(pieces.end_frame[i]), int(names[i])))
    return dict(out)


def _changes(pieces: Pieces, names: IntArray, cameras: Sequence[str], scene: SceneCalibration) -> list[dict[str, Any]]:
    """Every piece whose identity is another one now, with how well it fits the new and the old company."""
    out = []
    for i in np.flatnonzero(names != pieces.name).tolist():
        after = _fit(pieces, (names == names[i]) & (np.arange(len(pieces)) != i), i, scene)
        before = _fit(pieces, (pieces.name == pieces.name[i]) & (pieces.name >= 0) & (names != names[i]), i, scene)
        out.append({
            "camera": cameras[int(pieces.camera[i])], "track_id": int(pieces.track_id[i]),
            "from_frame": int(pieces.begin_frame[i]), "to_frame": int(pieces.end_frame[i]),
            "before": int(pieces.name[i]), "after": int(names[i]),
            "split": bool(((pieces.camera == pieces.camera[i]) & (pieces.track_id == pieces.track_id[i])).sum() > 1),
            "fits_after": after, "fits_before": before, "why": _why(after, before, int(pieces.name[i])),
        })  # fmt: skip
    return out


def _fit(pieces: Pieces, company: np.ndarray, i: int, scene: SceneCalibration) -> float | None:
    """Weighted mean log-odds of a piece with others, by looks alone; None without others or looks."""
    rows = np.flatnonzero(company & (pieces.weight > 0))
    if not len(rows) or pieces.weight[i] <= 0:
        return None
    odds = scene.log_odds(1.0 - pieces.look[rows] @ pieces.look[i])
    return round(float(np.average(odds, weights=pieces.weight[rows])), 3)


def _why(after: float | None, before: float | None, name: int) -> str:
    if name < 0:
        return "had no identity"
    if after is None and before is not None:
        return "unlike those it had been taken for, and like nobody else"
    if before is None:
        return "like others of another identity" if after is not None else "the identity went with its other tracklets"
    return "more like the people of its new identity than of its old one" if (after or 0) > before else (
        "kept apart from its old company by place or time"
    )


def _write_changes(path: Path, changes: list[dict[str, Any]]) -> None:
    from mctrack.sinks.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"changes": changes}, indent=1) + "\n", encoding="utf-8")


