"""Raw outputs of the YOLO families to boxes and scores.

YOLOX: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430. One output row per cell of the strides'
grids: centre, size, objectness, class probabilities. The exports come both as the heads' raw offsets and decoded.
YOLOv8 and YOLO11: no objectness, pixels, transposed. End-to-end exports: already suppressed, six numbers a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack import boxes
from mctrack.types import FloatArray

FAMILIES = ("yolox", "yolov8", "end2end")
SUPPORTED = "supported: YOLOX (n, cells, 5+classes), YOLOv8/YOLO11 (n, 4+classes, cells), end-to-end (n, k, 6)"
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32), (32,))

Raw = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """How to feed a model and how to read it.

    Attributes:
        family: one of :data:`FAMILIES`.
        person: index of the person class.
        classes: how many classes there are; further columns (masks, key points) are none of ours.
        decoded: whether a YOLOX export gives pixels already.
    """

    family: str
    person: int = 0
    classes: int = 80
    decoded: bool = False

    @property
    def centred(self) -> bool:
        """Whether the border goes on both sides."""
        return self.family != "yolox"

    @property
    def rgb(self) -> bool:
        """Whether the network wants RGB."""
        return self.family != "yolox"

    @property
    def scale(self) -> float:
        """Factor on the values 0…255."""
        return 1.0 if self.family == "yolox" else 1 / 255


def cells(size: tuple[int, int], count: int) -> tuple[FloatArray, FloatArray] | None:
    """Grid of an input, if some usual set of strides gives this many cells.

    Args:
        size: (width, height) of the input.
        count: number of cells in the output.

    Returns:
        (count, 2) x and y of each cell in cells, and (count, 1) its stride in pixels; None if nothing fits.
    """
    for strides in _STRIDES:
        shapes = [(size[0] // s, size[1] // s) for s in strides]
        if sum(w * h for w, h in shapes) == count:
            grids = [np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 2) for w, h in shapes]
            stride = np.concatenate([np.full((len(g), 1), s) for g, s in zip(grids, strides, strict=True)])
            return np.concatenate(grids).astype(float), stride.astype(float)
    return None


def guess_family(shape: tuple[int, ...], size: tuple[int, int]) -> str | None:
    """Family by the shape (n, a, b) of an output for an input of (width, height); None if it is none of ours."""
    if len(shape) != 3:
        return None
    _, a, b = shape
    if b >= 6 and cells(size, a) is not None:
        return "yolox"  # before end2end: a YOLOX with one class has six columns as well
    if a >= 5 and cells(size, b) is not None:
        return "yolov8"
    # 6 columns of detection, 6 + 32 mask coefficients, 6 + 17·3 key points
    return "end2end" if b in (6, 38, 57) and a <= 3000 else None


def looks_decoded(output: Raw, size: tuple[int, int]) -> bool:
    """Whether a YOLOX output (n, cells, 5+) holds pixels rather than offsets from its grid.

    Every cell predicts a centre near itself, whatever the picture shows. So the better of two readings is
    clear even without any object: offsets lie about (0.5, 0.5), pixels about (cell + 0.5)·stride.
    """
    grid = cells(size, output.shape[1])
    if grid is None:
        return True
    xy = np.nan_to_num(output[..., :2].astype(float))
    as_offset = np.median(np.abs(xy - 0.5))
    as_pixels = np.median(np.abs(xy / grid[1] - grid[0] - 0.5))
    return bool(as_pixels < as_offset)


def decode(output: Raw, layout: Layout, size: tuple[int, int], min_score: float) -> tuple[FloatArray, FloatArray]:
    """One picture's output to candidates.

    Args:
        output: (a, b) as the network gave it.
        layout: how to read it.
        size: (width, height) of the network's input.
        min_score: candidates below are left out before any box is computed.

    Returns:
        (n, 4) ``xyxy`` in input pixels and (n,) scores of persons. Not suppressed yet.
    """
    if layout.family == "end2end":
        return _decode_end2end(output, layout, min_score)
    rows = output if layout.family == "yolox" else output.T
    first = 5 if layout.family == "yolox" else 4
    score = rows[:, first + layout.person].astype(float)
    if layout.family == "yolox":
        score = score * rows[:, 4]
    keep = np.flatnonzero(score >= min_score)
    # a cell whose best class is another one shows a dog, however much it looks like a person
    labels = rows[keep, first : first + layout.classes]
    keep = keep[labels.argmax(axis=1) == layout.person]
    xcycwh = rows[keep, :4].astype(float)
    if layout.family == "yolox" and not layout.decoded:
        grid = cells(size, len(rows))
        assert grid is not None  # guess_family and OnnxDetector saw to it
        xcycwh[:, :2] = (xcycwh[:, :2] + grid[0][keep]) * grid[1][keep]
        # exp overflows on garbage; 20 is far beyond any picture and finite
        xcycwh[:, 2:] = np.exp(np.minimum(xcycwh[:, 2:], 20)) * grid[1][keep]
    return boxes.xcycwh_to_xyxy(xcycwh), score[keep]


def _decode_end2end(output: Raw, layout: Layout, min_score: float) -> tuple[FloatArray, FloatArray]:
    keep = (output[:, 4] >= min_score) & (np.rint(output[:, 5]) == layout.person)
    return output[keep, :4].astype(float), output[keep, 4].astype(float)
