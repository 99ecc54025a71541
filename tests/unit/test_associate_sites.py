"""The second pass over a site: places and times beside looks. Transitions, paths on the floor, linkage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.linkage import PLACE_LIMIT, WAY_LIMIT, Evidence, agglomerate, lawful, move, scores, worth
from mctrack.associate.paths import Path, floor_evidence, strays
from mctrack.associate.refine import Pieces, RefineOptions, apart_pairs, refine, ways
from mctrack.associate.transitions import BONUS, MALUS, Transitions

CAMERAS = ["a", "b", "c"]
PEOPLE = np.eye(8, 16)

# ---------------------------------------------------------------------------------------- transitions


def test_nobody_is_faster_than_the_given_time_but_one_may_dawdle() -> None:
    found = Transitions({"a->b": [4, 10]}, CAMERAS)
    odds = found.log_odds("a", "b", np.array([-1.0, 3.9, 4.0, 10.0, 10.1, 500.0]))
    assert odds[:2].tolist() == [-np.inf, -np.inf]
    assert (odds[2:4] > 0.5).all()
    assert odds[4:].tolist() == [MALUS, MALUS]
    assert found.log_odds("b", "a", np.array([1.0]))[0] == 0.0
    assert found.quickest("a", "b") == 4
    assert found.quickest("b", "a") is None


def test_a_narrow_span_says_more_than_a_wide_one() -> None:
    spans = {"narrow": [4, 8], "wide": [4, 20], "hours": [4, 7200], "exact": [5, 5]}
    odds = {k: float(Transitions({"a->b": v}, CAMERAS).log_odds("a", "b", np.array(5.0))) for k, v in spans.items()}
    assert odds["exact"] == BONUS
    assert odds["narrow"] > odds["wide"] > odds["hours"] == 0.0


def test_times_are_learned_only_where_that_is_wanted() -> None:
    learned, mute = Transitions({}, CAMERAS), Transitions({}, CAMERAS, learn=False)
    for t in np.linspace(4, 6, 12):
        learned.learn("a", "b", t)
        mute.learn("a", "b", t)
    usual, odd = learned.log_odds("a", "b", np.array([5.0, 45.0]))
    assert usual > 1
    assert odd < -1
    assert mute.log_odds("a", "b", np.array([5.0, 45.0])).tolist() == [0, 0]


# ---------------------------------------------------------------------------------------- the floor


def walk(start: float, end: float, x: float, speed: float = 1.0, noise: float = 0.0, y: float = 0.0) -> Path:
    """Along x from x at time 0, five times a second, each place good to 10 cm."""
    t = np.arange(start, end, 0.2)
    rng = np.random.default_rng(int(start * 10))
    xy = np.stack([x + speed * t, np.full(len(t), y)], axis=1) + rng.normal(0, noise, (len(t), 2))
    return Path(t, xy, np.tile(0.01 * np.eye(2), (len(t), 1, 1)))


def test_together_apart_and_out_of_reach() -> None:
    camera = np.array([0, 1, 1, 2, 0])
    paths = [walk(0, 10, 0, noise=0.1), walk(2, 12, 0, noise=0.1), walk(2, 12, 5), walk(12.5, 14, 0), Path.empty()]
    found = floor_evidence(camera, paths)
    assert found.odds[0, 1] > 3
    assert not found.forbidden[0, 1]
    assert found.odds[0, 2] < -3
    assert found.forbidden[0, 2]
    assert not found.forbidden[1, 3]  # went on
    assert found.forbidden[0, 3] == (2.5 > 1.0 + 2.0 * 0.2 + 3.0 * 2.5)
    far = floor_evidence(np.array([0, 1]), [walk(0, 2, 0), walk(3, 5, 40)])
    assert far.forbidden[0, 1]
    assert not found.odds[4].any()
    assert not found.forbidden[4].any()
    assert np.array_equal(found.odds, found.odds.T)
    assert np.array_equal(found.forbidden, found.forbidden.T)


def test_one_camera_at_two_times_says_nothing_about_standing_together() -> None:
    found = floor_evidence(np.array([0, 0]), [walk(0, 4, 0), walk(4.5, 8, 0)])
    assert not found.odds.any()
    assert not found.forbidden.any()


def test_a_track_that_goes_off_with_somebody_else_is_found() -> None:
    """Camera 0 follows A, who stands; at 6 s its track goes off with B, as camera 1 sees."""
    still, gone = walk(0, 6, 0, speed=0), walk(6, 12, -6, speed=1)
    aside = gone.xy + np.array([2.0, 0.0])
    mixed = Path(np.concatenate([still.time_s, gone.time_s]), np.concatenate([still.xy, aside]),
                 np.concatenate([still.cov, gone.cov]))  # fmt: skip
    camera, name = np.array([0, 1]), np.array([5, 5])
    cuts = strays(camera, [mixed, walk(0, 12, 0, speed=0)], name)
    assert set(cuts) == {0, 1}  # who of the two went off, two cannot tell
    assert cuts[0] == pytest.approx(6.0, abs=0.5)
    assert strays(camera, [walk(0, 12, 0, noise=0.1), walk(0, 12, 0, noise=0.1)], name) == {}
    assert strays(camera, [mixed, walk(0, 12, 0, speed=0)], np.array([5, 6])) == {}


# ---------------------------------------------------------------------------------------- linkage


def random_evidence(seed: int, n: int, share: float = 0.2) -> Evidence:
    rng = np.random.default_rng(seed)
    begin = rng.uniform(0, 50, n)
    looks, place = rng.normal(0, 2, (n, n)), rng.normal(0, 2, (n, n)) * (rng.random((n, n)) < 0.3)
    forbidden = np.triu(rng.random((n, n)) < share, 1)
    way = rng.normal(0, 1.5, (n, n)) * (rng.random((n, n)) < 0.5)
    return Evidence(looks + looks.T, rng.uniform(0.1, 5, n), forbidden | forbidden.T, place + place.T, way, begin,
                    begin + rng.uniform(0, 9, n))  # fmt: skip


def way_by_loop(e: Evidence, rows: list[int]) -> float:
    total, order = 0.0, sorted(rows, key=lambda i: e.begin_s[i])
    for k, j in enumerate(order):
        before = order[:k]
        if before and max(e.end_s[i] for i in before) < e.begin_s[j]:
            total += e.way[max(before, key=lambda i: e.end_s[i]), j]
    return total


def score_by_loop(e: Evidence, a: set[int], b: set[int]) -> float:
    pairs = [(i, j) for i in a for j in b]
    if any(e.forbidden[p] for p in pairs):
        return -np.inf
    mass = sum(e.weight[i] * e.weight[j] for i, j in pairs)
    mean = sum(e.looks[i, j] * e.weight[i] * e.weight[j] for i, j in pairs) / mass
    place = np.clip(sum(e.place[p] for p in pairs), -PLACE_LIMIT, PLACE_LIMIT)
    way = way_by_loop(e, [*a, *b]) - way_by_loop(e, [*a]) - way_by_loop(e, [*b])
    return float(mean + place + np.clip(way, -WAY_LIMIT, WAY_LIMIT))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_linkage_with_places_and_ways_against_a_slow_loop(seed: int, n: int) -> None:
    e = random_evidence(seed, n)
    groups: list[set[int]] = [{i} for i in range(n)]
    while len(groups) > 1:
        score, a, b = max((score_by_loop(e, groups[a], groups[b]), a, b)
                          for a in range(len(groups)) for b in range(a + 1, len(groups)))  # fmt: skip
        if score <= 0:
            break
        groups[a] |= groups.pop(b)
    label = agglomerate(e, 0.0)
    found = {frozenset(np.flatnonzero(label == g).tolist()) for g in np.unique(label)}
    assert found == {frozenset(g) for g in groups}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.booleans())
def test_worth_is_everybodys_score_in_their_own_company(seed: int, n: int, timed: bool) -> None:
    e = random_evidence(seed, n)
    e = e if timed else replace(e, way=np.zeros((n, n)))
    label, total = np.random.default_rng(seed).integers(3, 7, n), 0.0
    for i in range(n):
        if (label == label[i]).sum() > 1:
            total += e.weight[i] * max(scores(i, label, 7, e, 0.5)[label[i]] - 0.5, -50.0)
    assert worth(label, e, 0.5) == pytest.approx(total, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_moves_keep_the_law(seed: int, n: int) -> None:
    e = random_evidence(seed, n)
    label = lawful(np.random.default_rng(seed).integers(0, 3, n), e.forbidden)
    before = worth(label, e, 0.0)
    for _ in range(20):
        if not move(label, e, 0.0):
            break
    for g in np.unique(label):
        rows = np.flatnonzero(label == g)
        assert not e.forbidden[np.ix_(rows, rows)].any()
    assert np.isfinite(before)


# ---------------------------------------------------------------------------------------- refine


def pieces_of(rows: list[tuple[int, float, float, int, int]], noise: float = 0.0) -> Pieces:
    """Rows of (camera, begin, end, person, name); frames ten a second."""
    camera, begin, end, person, name = (np.array(c) for c in zip(*rows, strict=True))
    look = PEOPLE[person] + np.random.default_rng(0).normal(0, noise, (len(rows), 16))
    look = look / np.maximum(np.linalg.norm(look, axis=1, keepdims=True), 1e-12)
    box = np.tile([100.0, 100.0, 40.0, 100.0], (len(rows), 1))
    return Pieces(
        camera.astype(np.int64), np.arange(len(rows)), begin.astype(float), end.astype(float),
        (begin * 10).astype(np.int64), (end * 10).astype(np.int64), box, box.copy(), look, np.full(len(rows), 4.0),
        name.astype(np.int64),
    )  # fmt: skip


def scene() -> SceneCalibration:
    return SceneCalibration(lambda d: 1 / (1 + np.exp((np.asarray(d) - 0.4) * 20)))


def test_given_times_tell_look_alikes_apart() -> None:
    """Twins leave camera a; one enters b as long after the one as people take, and long after the other."""
    pieces = pieces_of([(0, 0, 10, 0, -1), (0, 40, 50, 0, -1), (1, 55, 60, 0, -1), (0, 45, 52, 1, -1)])
    given_times = Transitions({"a->b": [4, 8], "b->a": [4, 8]}, CAMERAS)
    way, never = ways(pieces, given_times, CAMERAS)
    assert way[1, 2] > 1
    assert way[0, 2] == MALUS
    assert never[3, 2]  # left 3 s before: too fast
    assert never[2, 3]
    apart = pieces_of([(0, 0, 50, 0, -1), (0, 10, 30, 0, -1), (1, 55, 60, 0, -1)])
    found = refine(apart, scene(), None, given_times, CAMERAS)
    assert found[0] == found[2] != found[1]


def test_times_alone_link_where_looks_are_not_known() -> None:
    pieces = pieces_of([(0, 0, 10, 0, 1), (1, 15, 20, 0, 2), (0, 14, 30, 1, 3), (2, 60, 70, 1, 4)])
    pieces.look[:] = 0.0
    pieces.weight[:] = 0.0
    found = refine(pieces, scene(), None, Transitions({"a->b": [4, 8]}, CAMERAS), CAMERAS)
    assert found.tolist() == [1, 1, 3, 4]
    assert refine(pieces, scene(), None, Transitions({}, CAMERAS), CAMERAS).tolist() == [1, 2, 3, 4]


def test_the_floor_overrules_looks_and_names() -> None:
    pieces = pieces_of([(0, 0, 10, 0, 1), (1, 0, 10, 0, 1), (1, 0, 10, 1, 2)])
    paths = [walk(0, 10, 0), walk(0, 10, 8), walk(0, 10, 0)]
    found = refine(pieces, scene(), None, None, CAMERAS, floor_evidence(pieces.camera, paths))
    assert found[0] != found[1]
    pieces.look[:] = 0.0
    found = refine(pieces, scene(), None, None, CAMERAS, floor_evidence(pieces.camera, paths))
    assert found[0] == found[2] != found[1]


def test_ways_are_learned_from_sure_links_of_the_first_round() -> None:
    rows = [(c, 30.0 * i + 12 * c, 30.0 * i + 12 * c + 7, i % 6, -1) for i in range(12) for c in (0, 1)]
    learned = Transitions({}, CAMERAS)
    refine(pieces_of(rows, noise=0.02), scene(), None, learned, CAMERAS)
    usual, odd = learned.log_odds("a", "b", np.array([5.0, 300.0]))
    assert usual > 0.5
    assert odd < 0
    mute = Transitions({}, CAMERAS, learn=False)
    refine(pieces_of(rows, noise=0.02), scene(), None, mute, CAMERAS)
    assert mute.log_odds("a", "b", np.array([5.0]))[0] == 0.0


def test_views_that_overlap_are_told_from_those_that_do_not() -> None:
    shared = [(c, 20.0 * i + c, 20.0 * i + 10, i, -1) for i in range(6) for c in (0, 1)]
    pieces = pieces_of(shared)
    assert not apart_pairs(pieces, np.repeat(np.arange(6), 2), RefineOptions()).any()
    single = [(c, 20.0 * i + 10 * c, 20.0 * i + 10 * c + 9, i, -1) for i in range(6) for c in (0, 1)]
    pieces = pieces_of([*single, (0, 200, 210, 7, -1), (1, 200, 210, 7, -1)])
    apart = apart_pairs(pieces, np.append(np.repeat(np.arange(6), 2), [6, 6]), RefineOptions())
    assert np.argwhere(apart).tolist() == [[12, 13], [13, 12]]
