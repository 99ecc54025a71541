"""Which of the cameras' next frames belong to one moment: a pure function of times."""

from __future__ import annotations

from collections.abc import Sequence

EPSILON_S = 1e-6
SLACK = 0.1
"""Share of a frame interval by which a partner may be worse than another before the pairing changes.

Two cameras shifted by exactly half a frame, with a millisecond of rounding, would otherwise change partners all the
time; so they keep the partner they have until the other one is clearly nearer.
"""


def group(heads: Sequence[float | None], following: Sequence[float | None], rank: Sequence[int], tolerance_s: float,
          slack_s: float) -> list[int]:
    """Choose the cameras whose next frames form the next instant.

    The earliest frame is always among them. The instant is built around one frame of it, the one of the
    best-ranked (fastest) camera that has the earliest frame within reach: measuring every camera against the
    same ticks keeps partners together where each camera is shifted by another part of a frame. Two frames belong
    together if they are no further apart than the tolerance and neither has a clearly nearer partner in the other's
    camera (mutual nearest neighbours).

    Args:
        heads: time of each camera's next frame in seconds, None where it has none.
        following: time of the frame after that, None where unknown.
        rank: each camera's rank, lowest first.
        tolerance_s: largest distance from the frame that the instant is built around.
        slack_s: how much nearer another partner has to be.

    Returns:
        Indices of cameras, ascending; empty if there is no frame at all.
    """
    present = [(time_s, i) for i, time_s in enumerate(heads) if time_s is not None]
    if not present:
        return []
    _, earliest = min(present)
    cameras = [i for _, i in present]

    def together(a: int, b: int) -> bool:
        a_s, b_s = heads[a], heads[b]
        assert a_s is not None
        assert b_s is not None
        distance_s = abs(a_s - b_s)
        if a == b:
            return True
        if distance_s > tolerance_s + EPSILON_S:
            return False
        next_a, next_b = following[a], following[b]
        nearer_b = next_b is not None and abs(a_s - next_b) < distance_s - slack_s - EPSILON_S
        nearer_a = next_a is not None and abs(next_a - b_s) < distance_s - slack_s - EPSILON_S
        return not (nearer_a or nearer_b)

    anchor = min((i for i in cameras if together(i, earliest)), key=lambda i: rank[i])
    return [i for i in cameras if together(i, anchor)]


def ranks(fps: Sequence[float]) -> list[int]:
    """Rank of each camera: the fastest first, equally fast ones in order."""
    order = sorted(range(len(fps)), key=lambda i: (-fps[i], i))
    result = [0] * len(fps)
    for position, camera in enumerate(order):
        result[camera] = position
    return result
