"""From blobs to people: one box each for those who walk alone, several for those who overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.detect.background import Mask
from mctrack.detect.blobs import Blob
from mctrack.detect.heights import HeightModel
from mctrack.types import FloatArray

ASPECT = 0.38
"""Width of a person's box as a share of its height, between standing and walking."""
_MAX_PEOPLE = 12

# Parts of an upright person in its box: left, top, right, bottom as shares; then the gaps that tell two apart
_BODY = np.array([[0.28, 0.0, 0.72, 0.16], [0.1, 0.16, 0.9, 0.55], [0.18, 0.55, 0.82, 1.0]])
_GAPS = np.array([[-0.05, 0.0, 0.18, 0.12], [0.82, 0.0, 1.05, 0.12], [0.1, -0.12, 0.9, -0.02]])


@dataclass(frozen=True, eq=False)
class Person:
    """A candidate: ``xyxy`` in pixels of the mask, and its plausibility 0…1."""

    xyxy: FloatArray
    score: float


def people_in(blob: Blob, heights: HeightModel, shape: tuple[int, int]) -> list[Person]:
    """The people that explain a blob.

    Args:
        blob: connected foreground.
        heights: how tall people are where; until it knows, every blob is one person.
        shape: (h, w) of the picture.
    """
    box = np.array([blob.left, blob.top, blob.right, blob.bottom], float)
    if not heights.known:
        return [Person(box, _score_unknown(blob, shape))]
    tall = float(heights.expected(box[3:])[0])
    ratio, seen = blob.height / tall, 1.0
    if blob.bottom >= shape[0] - 1:
        # the feet are below the picture, so only the head says how tall the whole body is
        whole = float(heights.foot_of(box[1:2])[0]) - blob.top
        if whole > blob.height:
            tall, ratio, seen = whole, 1.0, blob.height / whole
    upright = 0.78 <= ratio <= 1.28 and blob.width <= 0.7 * tall
    if not (upright and blob.width <= 0.5 * tall):
        found = _cover(blob, heights, shape)
        if len(found) > 1 or not upright:
            return found or [_leftover(blob, ratio)]
    aspect = blob.width / (blob.height / seen)
    if blob.left <= 0 or blob.right >= shape[1]:
        aspect = max(aspect, ASPECT)  # half a person at the edge is narrow
    fill = blob.area / (blob.width * blob.height)
    return [Person(box, min(0.4 + 1.5 * seen, 1.0) * _plausibility(ratio, aspect, fill, blob.contrast))]


def _plausibility(ratio: float, aspect: float, fill: float, contrast: float) -> float:
    """How much a box looks like a person, 0…1.

    Args:
        ratio: height over the expected height.
        aspect: width over height.
        fill: share of the box that is foreground.
        contrast: mean distance from the background in standard deviations.
    """
    odd = (np.log(ratio) / 0.25) ** 2 + (np.log(aspect / ASPECT) / 0.45) ** 2
    odd += (min(fill - 0.5, 0.0) / 0.2) ** 2 + (min(contrast - 9, 0.0) / 3) ** 2
    return float(0.95 / (1 + 0.25 * odd))


def _score_unknown(blob: Blob, shape: tuple[int, int]) -> float:
    """Plausibility before anything is known about heights."""
    share = blob.height / shape[0]
    size = float(np.clip(share / 0.08, 0.3, 1)) * (1.0 if share < 0.8 else 0.6)
    fill = blob.area / (blob.width * blob.height)
    return 0.85 * size * _plausibility(1.0, blob.width / blob.height, fill, blob.contrast)


def _cover(blob: Blob, heights: HeightModel, shape: tuple[int, int]) -> list[Person]:
    """Greedy explanation of a blob by upright bodies: each takes the pixels that nobody has explained yet."""
    left, mask = blob.left, blob.mask
    rest = mask.copy()
    whole = _integral(mask)
    found: list[Person] = []
    while len(found) < _MAX_PEOPLE:
        boxes = _candidates(rest, blob, heights)
        if not len(boxes):
            break
        visible = _part_areas(boxes, _BODY, shape)
        body = visible.sum(axis=1)
        local = boxes - np.array([left, blob.top, left, blob.top])
        new = _part_sums(_integral(rest), local, _BODY).sum(axis=1) / body
        fill = _part_sums(whole, local, _BODY).sum(axis=1) / body
        gaps = _part_sums(whole, local, _GAPS) / np.maximum(_part_areas(boxes, _GAPS, shape), 1)
        value = new * (0.5 + 0.5 * fill) - 0.12 * gaps.mean(axis=1) * 3
        best = int(value.argmax())
        if new[best] < 0.35 or value[best] < 0.2:
            break
        score = _cover_score(float(new[best]), float(fill[best]), float(gaps[best].mean()), blob.contrast)
        found.append(Person(boxes[best], score))
        _erase(rest, local[best])
    return found


def _cover_score(new: float, fill: float, gaps: float, contrast: float) -> float:
    weak = (min(contrast - 9, 0.0) / 3) ** 2
    return float(np.clip(0.9 * (0.55 * new + 0.45 * fill) - 0.25 * gaps, 0.05, 0.9) / (1 + 0.25 * weak))


def _leftover(blob: Blob, ratio: float) -> Person:
    """A blob that no body fits: too small, too flat."""
    box = np.array([blob.left, blob.top, blob.right, blob.bottom], float)
    fill = blob.area / (blob.width * blob.height)
    return Person(box, 0.5 * _plausibility(ratio, blob.width / blob.height, fill, blob.contrast))


def _candidates(rest: Mask, blob: Blob, heights: HeightModel) -> FloatArray:
    """(n, 4) boxes whose head, or whose feet, lie on the contour of what is not explained yet."""
    columns = np.flatnonzero(rest.any(axis=0))
    if len(columns) == 0:
        return np.zeros((0, 4))
    part = rest[:, columns]
    head = blob.top + part.argmax(axis=0).astype(float)
    foot = blob.top + len(rest) - part[::-1].argmax(axis=0).astype(float)
    tall = np.concatenate([heights.foot_of(head) - head, heights.expected(foot)])
    bottom = np.concatenate([head + tall[: len(head)], foot])
    centre = np.tile(blob.left + columns + 0.5, 2)
    half = ASPECT / 2 * tall
    return np.stack([centre - half, bottom - tall, centre + half, bottom], axis=1)


def _erase(rest: Mask, box: FloatArray) -> None:
    grow = 0.1 * (box[2] - box[0])
    x0, x1 = max(int(box[0] - grow), 0), max(int(np.ceil(box[2] + grow)), 0)
    y0, y1 = max(int(box[1] - grow), 0), max(int(np.ceil(box[3] + grow)), 0)
    rest[y0:y1, x0:x1] = 0


def _integral(mask: Mask) -> NDArray[np.int64]:
    padded = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    padded[1:, 1:] = mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    return padded


def _parts(boxes: FloatArray, parts: FloatArray) -> FloatArray:
    """(n, k, 4) pixel rectangles of the parts of each box."""
    size = np.concatenate([boxes[:, 2:] - boxes[:, :2]] * 2, axis=1)
    origin = np.concatenate([boxes[:, :2]] * 2, axis=1)
    return np.rint(origin[:, None] + size[:, None] * parts)


def _part_sums(integral: NDArray[np.int64], boxes: FloatArray, parts: FloatArray) -> FloatArray:
    """(n, k) sums of a mask over the parts of each box."""
    rect = _parts(boxes, parts).astype(np.int64)
    x = np.clip(rect[..., 0::2], 0, integral.shape[1] - 1)
    y = np.clip(rect[..., 1::2], 0, integral.shape[0] - 1)
    total = integral[y[..., 1], x[..., 1]] - integral[y[..., 0], x[..., 1]]
    return (total - integral[y[..., 1], x[..., 0]] + integral[y[..., 0], x[..., 0]]).astype(float)


def _part_areas(boxes: FloatArray, parts: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """(n, k) areas of the parts that lie inside the picture (h, w)."""
    rect = _parts(boxes, parts)
    x = np.clip(rect[..., 0::2], 0, shape[1])
    y = np.clip(rect[..., 1::2], 0, shape[0])
    return (x[..., 1] - x[..., 0]) * (y[..., 1] - y[..., 0])
