"""From foreground pixels to blobs: cleaned, connected, fragments of one person put together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mctrack.detect.background import Foreground, Mask, as_mask
from mctrack.detect.heights import HeightModel
from mctrack.types import IntArray

_MIN_STRONG_SHARE = 0.15
_TOO_SHORT = 0.08
_MOST = 80
_WHOLE = 0.88


@dataclass(frozen=True, eq=False)
class Blob:
    """Foreground that hangs together.

    Attributes:
        left, top, right, bottom: its extent in pixels, right and bottom exclusive.
        mask: (bottom − top, right − left) 0/1, this blob only.
        contrast: mean distance from the background in standard deviations, each pixel counted at most 20.
        moving: share of its pixels that changed since the last picture.
    """

    left: int
    top: int
    right: int
    bottom: int
    mask: Mask
    contrast: float
    moving: float

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(self.mask.sum())


def clean(fg: Foreground) -> Mask:
    """(h, w) 0/1 mask without specks and thin level lines (waving tape), and with gaps along bodies closed."""
    upright = cv2.morphologyEx(fg.weak, cv2.MORPH_OPEN, np.ones((3, 2), np.uint8))
    return as_mask(cv2.morphologyEx(upright, cv2.MORPH_CLOSE, np.ones((7, 3), np.uint8)))


def find_blobs(mask: Mask, fg: Foreground, heights: HeightModel, min_height_px: float) -> list[Blob]:
    """Blobs of a cleaned mask that may be people, from left to right.

    Args:
        mask: (h, w) 0/1 from :func:`clean`.
        fg: where it came from.
        heights: says what is too small, and how far fragments of one person may lie apart.
        min_height_px: nothing smaller is of interest.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = np.asarray(stats[:, :4], np.int64)
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    tall = np.full(count, min_height_px)
    if heights.known:
        tall = np.maximum(tall, 0.8 * heights.expected(boxes[:, 3].astype(float)))
    small = stats[:, 4] < 0.015 * np.square(tall)
    keep = [i for i in range(1, count) if not small[i]]
    if len(keep) > _MOST:  # a shaken camera: grouping is quadratic, and there is nothing to find anyway
        keep = sorted(keep, key=lambda i: -int(stats[i, 4]))[:_MOST]
    result = []
    for group in _stacks(keep, boxes, heights):
        left, top = boxes[group, :2].min(axis=0)
        right, bottom = boxes[group, 2:].max(axis=0)
        part = (slice(top, bottom), slice(left, right))
        own = np.isin(labels[part], group).astype(np.uint8)
        area = int(own.sum())
        strong = int((own & fg.strong[part]).sum())
        if bottom - top < min_height_px or strong < _MIN_STRONG_SHARE * area:
            continue
        contrast = float(np.minimum(fg.contrast[part], 20)[own > 0].mean())
        moving = float((own & fg.moving[part]).sum() / area)
        blob = Blob(int(left), int(top), int(right), int(bottom), own, contrast, moving)
        result.append(_reach_down(blob, fg, heights) if heights.known else blob)
    return sorted(result, key=lambda b: (b.left, b.top))


def _stacks(keep: list[int], boxes: IntArray, heights: HeightModel) -> list[list[int]]:
    """Group components that stand above each other and together are no taller than one person."""
    order = sorted(keep, key=lambda i: (-boxes[i, 3], boxes[i, 0]))
    if not heights.known:
        return [[i] for i in order]
    extent = {i: tuple(float(v) for v in boxes[i]) for i in order}
    tall = dict(zip(order, heights.expected(boxes[order, 3].astype(float)).tolist(), strict=True))
    foot = dict(zip(order, heights.foot_of(boxes[order, 1].astype(float)).tolist(), strict=True))
    members = {i: [i] for i in order}
    for low in order:
        for high in order:
            if high == low or low not in members or high not in members:
                continue
            a, b = extent[low], extent[high]
            joint = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
            # one person by the feet (of the lowest part, so its row stays) as well as by the head
            fits = joint[3] - joint[1] <= 1.15 * min(tall[low], foot[high] - b[1])
            fits &= joint[2] - joint[0] <= 0.6 * tall[low] and b[3] - b[1] < _WHOLE * tall[high]
            shared = min(a[2], b[2]) - max(a[0], b[0])
            gap = max(a[1], b[1]) - min(a[3], b[3])
            if fits and shared >= 0.5 * min(a[2] - a[0], b[2] - b[0]) and gap <= 0.35 * tall[low]:
                extent[low] = joint
                members[low] = members[low] + members.pop(high)
    return list(members.values())


def _reach_down(blob: Blob, fg: Foreground, heights: HeightModel) -> Blob:
    """Add legs that passed for shadow: shade straight below, no further than the feet that belong to this head."""
    rows = fg.shade.shape[0]
    foot = min(int(heights.foot_of(np.array([blob.top], float))[0]), rows)
    if foot - blob.bottom < _TOO_SHORT * (foot - blob.top):
        return blob
    below = fg.shade[blob.bottom : foot, blob.left : blob.right] | fg.weak[blob.bottom : foot, blob.left : blob.right]
    filled = below.sum(axis=1) >= max(0.12 * blob.width, 1)
    share = np.cumsum(filled) / np.arange(1, len(filled) + 1)
    good = np.flatnonzero(filled & (share >= 0.7))
    if len(good) == 0:
        return blob
    more = int(good[-1]) + 1
    mask = np.concatenate([blob.mask, below[:more]])
    return replace(blob, bottom=blob.bottom + more, mask=mask)
