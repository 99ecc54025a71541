"""The second pass: grouping under constraints, cutting, renaming, bridging; and the command on a small run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_scene import walk_past

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.paths import Path as FloorPath
from mctrack.associate.refine import (
    Pieces,
    RefineOptions,
    cannot_link,
    group,
    pair_odds,
    refine,
    rename,
    split_place,
)
from mctrack.config import RunConfig, load_config
from mctrack.errors import MctrackError, OutputError
from mctrack.refinement import Part, Sampled, _sights, _without_idle_cuts, _without_strays, refine_run
from mctrack.run import run
from mctrack.sinks.refined import bridge
from mctrack.sinks.schema import Boxes

PEOPLE = np.eye(6, 16)


def probability(distance: np.ndarray) -> np.ndarray:
    """Alike below a distance of 0.4."""
    return 1 / (1 + np.exp((np.asarray(distance) - 0.4) * 20))


def scene() -> SceneCalibration:
    return SceneCalibration(probability)


def table(rows: list[tuple[int, float, float, int, int]], rng: np.random.Generator | None = None,
          x: list[float] | None = None) -> Pieces:  # fmt: skip
    """Rows of (camera, begin, end, person, name); frames at 10 a second, people 100 px tall standing at x."""
    n = len(rows)
    camera, begin, end, person, name = (np.array(c) for c in zip(*rows, strict=True))
    look = PEOPLE[person].astype(float)
    if rng is not None:
        look = look + rng.normal(0, 0.05, look.shape)
        look /= np.linalg.norm(look, axis=1, keepdims=True)
    box = np.stack([x or [0.0] * n, [50.0] * n, [40.0] * n, [100.0] * n], 1).astype(float)
    return Pieces(
        camera.astype(np.int64), np.arange(n), begin.astype(float), end.astype(float), (begin * 10).astype(np.int64),
        (end * 10).astype(np.int64), box, box.copy(), look, np.full(n, 4.0), name.astype(np.int64),
    )  # fmt: skip


def test_people_who_return_and_people_who_were_mixed_up_are_put_right() -> None:
    pieces = table([
        (0, 0, 10, 0, 1), (0, 2, 12, 1, 2), (1, 20, 30, 0, 3), (1, 22, 33, 1, 1), (0, 40, 50, 2, 2), (0, 60, 70, 0, 4),
    ], np.random.default_rng(0))  # fmt: skip
    found = refine(pieces, scene())
    for i in range(6):
        for j in range(6):
            same = bool((pieces.look[i] @ pieces.look[j]) > 0.5)
            assert (found[i] == found[j]) == same
    assert found[[1, 3]].tolist() == [1, 1]  # held for eleven seconds: more than anybody else held it
    assert found[4] == 2
    assert found[0] in (3, 4)


def test_two_at_one_time_in_one_camera_are_two_however_alike() -> None:
    pieces = table([(0, 0, 10, 0, 1), (0, 5, 15, 0, 1), (1, 30, 40, 0, 1)])
    found = refine(pieces, scene())
    assert found[0] != found[1]
    assert found[2] in (found[0], found[1])


def test_nobody_crosses_the_picture_in_no_time() -> None:
    pieces = table([(0, 0, 10, 0, 1), (0, 10.2, 20, 0, 1)], x=[0.0, 900.0])
    assert cannot_link(pieces, 4.0)[0, 1]
    later = table([(0, 0, 10, 0, 1), (0, 15, 20, 0, 1)], x=[0.0, 900.0])
    assert not cannot_link(later, 4.0)[0, 1]
    other = table([(0, 0, 10, 0, 1), (1, 10.2, 20, 0, 1)], x=[0.0, 900.0])
    assert not cannot_link(other, 4.0)[0, 1]


def test_a_track_that_goes_on_at_the_same_place_is_likely_the_same() -> None:
    near = pair_odds(table([(0, 0, 10, 0, -1), (0, 10.5, 20, 1, -1)], x=[0.0, 10.0]), scene(), RefineOptions())
    far = pair_odds(table([(0, 0, 10, 0, -1), (0, 10.5, 20, 1, -1)], x=[0.0, 400.0]), scene(), RefineOptions())
    assert near[0, 1] - far[0, 1] == pytest.approx(3.0 * (1 - 0.5 / 2.0))


def test_views_that_never_share_people_do_not_begin_to_by_looks() -> None:
    """Twins in two cameras at one time; everybody else in these cameras comes one after the other."""
    rows = [(c, 20.0 * i + 10 * c, 20.0 * i + 10 * c + 5, i % 5, -1) for i in range(50) for c in (0, 1)]
    pieces = table([*rows, (0, 2000, 2010, 5, -1), (1, 2000, 2010, 5, -1)])
    found = refine(pieces, scene())
    assert found[-1] != found[-2]
    assert all(found[2 * i] == found[2 * i + 1] for i in range(50))


def test_a_tracklet_that_changes_its_look_is_cut_there() -> None:
    rng = np.random.default_rng(2)
    looks = np.repeat(PEOPLE[:2], [7, 9], axis=0) + rng.normal(0, 0.05, (16, 16))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    assert split_place(looks, np.ones(16), scene(), -2.5) == 7
    assert split_place(np.repeat(looks[:1], 16, 0), np.ones(16), scene(), -2.5) is None
    assert split_place(looks[:7], np.ones(7), scene(), -2.5) is None  # too short for two parts


def slow_linkage(odds: np.ndarray, weight: np.ndarray, forbidden: np.ndarray) -> list[set[int]]:
    """Average linkage by trying every pair of groups."""
    groups = [{i} for i in range(len(odds))]
    while True:
        best, pair = 0.0, None
        for a in range(len(groups)):
            for b in range(a + 1, len(groups)):
                between = [(i, j) for i in groups[a] for j in groups[b]]
                if any(forbidden[i, j] for i, j in between):
                    continue
                mass = sum(weight[i] * weight[j] for i, j in between)
                mean = sum(odds[i, j] * weight[i] * weight[j] for i, j in between) / mass
                if mean > best + 1e-12:
                    best, pair = mean, (a, b)
        if pair is None:
            return groups
        groups[pair[0]] |= groups.pop(pair[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_linkage_against_a_slow_loop(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 2, (n, n))
    odds, weight = odds + odds.T, rng.uniform(0.1, 5, n)
    forbidden = np.triu(rng.random((n, n)) < 0.2, 1)
    forbidden |= forbidden.T
    label = group(odds, weight, forbidden, RefineOptions(rounds=0))
    found = {frozenset(np.flatnonzero(label == g).tolist()) for g in np.unique(label)}
    assert found == {frozenset(g) for g in slow_linkage(odds, weight, forbidden)}
    moved = group(odds, weight, forbidden, RefineOptions())
    for g in np.unique(moved):
        rows = np.flatnonzero(moved == g)
        assert not forbidden[np.ix_(rows, rows)].any()


def test_names_change_for_as_few_as_possible() -> None:
    pieces = table([(0, 0, 10, 0, 7), (0, 20, 50, 0, 3), (0, 60, 65, 1, 3), (0, 70, 80, 2, -1)])
    assert rename(pieces, np.array([0, 0, 1, 2])).tolist() == [3, 3, 8, 9]


def test_nobody_at_all() -> None:
    empty = table([(0, 0, 1, 0, 1)])
    none = Pieces(*(getattr(empty, f)[:0] for f in empty.__dataclass_fields__))
    assert refine(none, scene()).tolist() == []


def sampled(times_s: np.ndarray, looks_at: list[int]) -> Sampled:
    n = len(times_s)
    look = np.tile(PEOPLE[0], (len(looks_at), 1))
    return Sampled("a", 3, 1, np.arange(n), times_s, np.tile([0.0, 0.0, 10.0, 30.0], (n, 1)),
                   np.array(looks_at), look, np.ones(len(looks_at)))  # fmt: skip


def test_a_tracklet_out_of_sight_for_long_has_two_sights() -> None:
    times = np.array([0.0, 0.1, 1.9, 2.0, 9.0, 9.1])
    assert [rows.tolist() for rows in _sights(times)] == [[0, 1, 2, 3], [4, 5]]
    assert [rows.tolist() for rows in _sights(times[:1])] == [[0]]


def test_a_piece_is_cut_where_it_went_off_with_somebody_else() -> None:
    """Camera a's piece agrees with camera b's for six seconds and then walks away."""
    times = np.arange(0, 12, 0.2)
    still = np.zeros((len(times), 2))
    away = still + np.clip(times - 6, 0, None)[:, None] * [1.5, 0]
    cov = np.tile(0.01 * np.eye(2), (len(times), 1, 1))
    paths = [FloorPath(times, away, cov), FloorPath(times, still, cov), FloorPath(times, still, cov)]
    parts: list[Part] = [(sampled(times, [5, 20, 50]), 0, len(times), 0, 3)] * 3
    pieces = table([(c, 0, 11.8, 0, 1) for c in range(3)])
    found = _without_strays(parts, pieces, paths, np.array([1, 1, 1]))
    assert found is not None
    cut = [(first, last, a, b) for _, first, last, a, b in found]
    assert cut[0][0] == 0
    assert cut[0][1] == cut[1][0]
    assert times[cut[0][1]] == pytest.approx(7.0, abs=1.2)
    assert (cut[0][2:], cut[1][2:]) == ((0, 2), (2, 3))
    assert _without_strays(parts, pieces, paths, np.array([1, 2, 3])) is None
    assert _without_strays(parts, pieces, None, np.array([1, 1, 1])) is None


def test_a_cut_that_found_nobody_else_is_undone() -> None:
    times = np.arange(0, 20, 0.2)
    t, other = sampled(times, [5, 20, 40, 60, 80]), sampled(times, [5])
    halves: list[Part] = [(t, 0, 85, 0, 4), (t, 85, 100, 4, 5), (other, 0, 100, 0, 1)]
    whole = _without_idle_cuts(halves, np.array([1, 2, 1]))  # the second part lasts 2.8 s and is like nobody
    assert whole == [(t, 0, 100, 0, 5), (other, 0, 100, 0, 1)]
    assert _without_idle_cuts(halves[:2], np.array([2, 1])) == [(t, 0, 100, 0, 5)]
    assert _without_idle_cuts([(t, 0, 15, 0, 1), (t, 15, 100, 1, 5)], np.array([2, 1])) == [(t, 0, 100, 0, 5)]
    assert _without_idle_cuts(halves, np.array([1, 2, 2])) is None  # it is somebody: the cut was right
    long: list[Part] = [(t, 0, 50, 0, 3), (t, 50, 100, 3, 5), (other, 0, 100, 0, 1)]
    assert _without_idle_cuts(long, np.array([1, 2, 1])) is None  # ten seconds are no glimpse
    assert _without_idle_cuts([halves[0], halves[2], halves[1]], np.array([1, 1, 2])) is None
    times[85:] += 3  # out of sight between: not cut for its looks
    assert _without_idle_cuts(halves, np.array([1, 2, 1])) is None


def test_gaps_between_tracklets_of_one_identity_are_bridged() -> None:
    def rows(frames: list[int], tracks: list[int], names: list[int]) -> Boxes:
        n = len(frames)
        xyxy = np.array([[f * 10.0, 0, f * 10 + 5, 10] for f in frames])
        return Boxes(np.array(frames), np.array(tracks), np.array(names), xyxy, np.ones(n), np.ones(n, int),
                     np.zeros(n, bool))  # fmt: skip

    frames, times = np.arange(20), np.arange(20) / 10
    found = bridge(rows([0, 1, 5, 6], [1, 1, 2, 2], [9, 9, 9, 9]), frames, times, 1.0)
    assert found.frame_index.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert found.filled.tolist() == [False, False, True, True, True, False, False]
    assert found.xyxy[:, 0].tolist() == pytest.approx([0, 10, 20, 30, 40, 50, 60])
    assert len(bridge(rows([0, 5], [1, 2], [9, 9]), frames, times, 0.4)) == 2  # too long
    assert len(bridge(rows([0, 5], [1, 2], [8, 9]), frames, times, 1.0)) == 2  # two people
    cut = bridge(rows([0, 2, 3, 5], [1, 1, 1, 2], [9, 8, 8, 9]), frames, times, 1.0)
    assert sorted(zip(cut.frame_index.tolist(), cut.track_id.tolist(), strict=True)) == sorted(
        {(f, t) for f, t in zip(cut.frame_index.tolist(), cut.track_id.tolist(), strict=True)}
    )  # no box of a tracklet twice in a frame


def test_a_run_is_refined_beside_itself(tmp_path: Path) -> None:
    film, out = tmp_path / "film", tmp_path / "run"
    film.mkdir()
    walk_past(film, "a", frames=40, fps=10, walkers=2)
    run(load_config(RunConfig, overrides={
        "cams": [str(film / "a.mp4")], "detect.name": "background", "reid.name": "histogram", "output.dir": str(out),
        "output.video": False,
    }), say=lambda _: None)  # fmt: skip
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and "run.db" not in p.name}
    said: list[str] = []
    done = refine_run(out, say=said.append)
    assert all(path.read_bytes() == text for path, text in before.items())
    assert done.folder == out / "refined"
    assert json.loads((done.folder / "changes.json").read_text()) == {"changes": done.changes}
    lines = (done.folder / "tracks" / "a.txt").read_text().splitlines()
    assert len(lines) >= len((out / "tracks" / "a.txt").read_text().splitlines())
    assert {int(line.split(",")[1]) for line in lines} <= {
        e["global_id"] for e in json.loads((done.folder / "identities.json").read_text())["identities"]
    }
    assert any("looking again at" in line for line in said)
    assert refine_run(out, say=said.append).changes == done.changes  # once more into the same folder
    said.clear()
    tables = tmp_path / "scene"
    tables.mkdir()
    (tables / "identities.json").write_text("the truth")
    (tmp_path / "link").symlink_to(out)
    for place, words in (
        (out, "holds a run"), (tmp_path / "link", "holds a run"), (out / "tracks.csv", "is not a folder"),
        (out / "tracks.csv" / "x", "is not a folder"), (tables, r"identities\.json is there already"),
        (Path("rtsp://user:pw@h/x"), "is a URL"),
    ):
        with pytest.raises(OutputError, match=words):
            refine_run(out, place, say=said.append)
    assert said == []  # before anything is looked at
    assert all(path.read_bytes() == text for path, text in before.items())
    assert (tables / "identities.json").read_text() == "the truth"
    shutil.rmtree(film)
    with pytest.raises(MctrackError, match=r"a\.mp4 does not exist"):
        refine_run(out)


def test_what_cannot_be_refined(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no run database"):
        refine_run(tmp_path)
