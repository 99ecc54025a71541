"""Gap filling and one box per identity, against slow loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mctrack.sinks.schema import Boxes
from mctrack.sinks.tables import fill_gaps, one_per_identity


def random_boxes(seed: int, n_frames: int, n_tracks: int, n_names: int) -> tuple[Boxes, np.ndarray, np.ndarray]:
    """Boxes of some tracks on frames with holes and uneven times."""
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.choice(3 * n_frames + 1, n_frames, replace=False)).astype(np.int64)
    times = np.cumsum(rng.uniform(0.01, 0.4, n_frames))
    present = rng.random((n_frames, n_tracks)) < 0.4
    place, track = np.nonzero(present)
    n = len(place)
    names = rng.integers(-1, n_names, max(n_tracks, 1))
    boxes = Boxes(
        frames[place], track.astype(np.int64), names[track], rng.uniform(0, 100, (n, 4)), rng.random(n).round(1),
        rng.integers(0, 3, n), np.zeros(n, bool),
    )  # fmt: skip
    return boxes, frames, times


STREAMS = st.builds(random_boxes, st.integers(0, 2**31), st.integers(0, 12), st.integers(0, 5), st.integers(1, 4))


@given(STREAMS, st.sampled_from([0.0, 0.2, 0.5, 1.0, 100.0]))
@settings(deadline=None, max_examples=150)
def test_fill_gaps_equals_a_slow_loop(stream: tuple[Boxes, np.ndarray, np.ndarray], gap_s: float) -> None:
    boxes, frames, times = stream
    rows: dict[tuple[int, int], tuple[np.ndarray, float, bool]] = {}
    time_of = dict(zip(frames.tolist(), times.tolist(), strict=True))
    for track in set(boxes.track_id.tolist()):
        mine = np.flatnonzero(boxes.track_id == track)
        for i in mine:
            rows[int(boxes.frame_index[i]), track] = boxes.xyxy[i], boxes.score[i], False
        for i, j in pairwise(mine.tolist()):
            f0, f1 = int(boxes.frame_index[i]), int(boxes.frame_index[j])
            t0, t1 = time_of[f0], time_of[f1]
            if t1 - t0 > gap_s:
                continue
            for frame in frames[(frames > f0) & (frames < f1)].tolist():
                share = (time_of[frame] - t0) / (t1 - t0)
                box = (1 - share) * boxes.xyxy[i] + share * boxes.xyxy[j]
                rows[frame, track] = box, (1 - share) * boxes.score[i] + share * boxes.score[j], True
    filled = fill_gaps(boxes, frames, times, gap_s)
    keys = sorted(rows)
    assert list(zip(filled.frame_index.tolist(), filled.track_id.tolist(), strict=True)) == keys
    np.testing.assert_allclose(filled.xyxy, np.array([rows[k][0] for k in keys]).reshape(-1, 4), atol=1e-9)
    np.testing.assert_allclose(filled.score, [rows[k][1] for k in keys], atol=1e-12)
    assert filled.filled.tolist() == [rows[k][2] for k in keys]
    name = dict(zip(boxes.track_id.tolist(), boxes.global_id.tolist(), strict=True))
    assert filled.global_id.tolist() == [name[t] for _, t in keys]


@given(STREAMS)
@settings(deadline=None, max_examples=150)
def test_one_per_identity_equals_a_slow_loop(stream: tuple[Boxes, np.ndarray, np.ndarray]) -> None:
    boxes = fill_gaps(*stream, 0.5)
    length = {t: int(((boxes.track_id == t) & ~boxes.filled).sum()) for t in set(boxes.track_id.tolist())}
    best: dict[tuple[int, int], tuple[float, ...]] = {}
    nameless = 0
    for i in range(len(boxes)):
        if boxes.global_id[i] < 0:
            nameless += 1
            continue
        key = int(boxes.frame_index[i]), int(boxes.global_id[i])
        rank = (not boxes.filled[i], length[int(boxes.track_id[i])], boxes.score[i], -i)
        best[key] = max(best.get(key, rank), rank)
    kept, dropped = one_per_identity(boxes)
    assert dropped == len(boxes) - len(best) - nameless
    assert int((kept.global_id < 0).sum()) == nameless
    named = kept.take(kept.global_id >= 0)
    assert len(named) == len(best)
    columns = named.frame_index, named.global_id, named.track_id
    rows = set(zip(*(c.tolist() for c in columns), strict=True))
    assert rows == {(f, g, int(boxes.track_id[int(-rank[3])])) for (f, g), rank in best.items()}
