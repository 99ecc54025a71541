"""Boxes of a whole sequence as one table, and the overlaps between ground truth and results, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mctrack.types import FloatArray, IntArray

BoolArray = NDArray[np.bool_]

_CHUNK_PAIRS = 1 << 16  # pairs worked on at once: small enough to stay in the processor's cache


@dataclass(frozen=True, eq=False)
class BoxTable:
    """All boxes of one sequence, in the order of the file; every array has n rows.

    Attributes:
        frame: (n,) 1-based frame numbers, as in MOTChallenge text.
        track_id: (n,) identities, unique within a frame.
        xyxy: (n, 4) pixels.
        score: (n,) score of a result; for ground truth 0 means "ignore this box".
        category: (n,) MOTChallenge class of ground truth (1 = pedestrian), −1 where the file says nothing.
        visibility: (n,) visible share of a person in the ground truth, −1 where the file says nothing.
    """

    frame: IntArray
    track_id: IntArray
    xyxy: FloatArray
    score: FloatArray
    category: IntArray
    visibility: FloatArray

    def __post_init__(self) -> None:
        n = len(self.frame)
        expected = {"track_id": (n,), "xyxy": (n, 4), "score": (n,), "category": (n,), "visibility": (n,)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if not np.isfinite(self.xyxy).all():
            raise ValueError(f"xyxy holds {int((~np.isfinite(self.xyxy)).sum())} values that are not finite")

    def __len__(self) -> int:
        return len(self.frame)

    @staticmethod
    def of(
        frame: NDArray[np.generic] | list[int],
        track_id: NDArray[np.generic] | list[int],
        xyxy: NDArray[np.generic] | list[list[float]],
        score: NDArray[np.generic] | None = None,
        category: NDArray[np.generic] | None = None,
        visibility: NDArray[np.generic] | None = None,
    ) -> BoxTable:
        """A table from (n,) frames, (n,) identities and (n, 4) ``xyxy``; missing columns get score 1 and −1."""
        n = len(frame)
        return BoxTable(
            np.asarray(frame, np.int64).reshape(n),
            np.asarray(track_id, np.int64).reshape(n),
            np.asarray(xyxy, np.float64).reshape(n, 4),
            np.ones(n) if score is None else np.asarray(score, np.float64),
            np.full(n, -1, np.int64) if category is None else np.asarray(category, np.int64),
            np.full(n, -1.0) if visibility is None else np.asarray(visibility, np.float64),
        )

    @staticmethod
    def empty() -> BoxTable:
        """No boxes."""
        return BoxTable.of([], [], np.zeros((0, 4)))

    def take(self, index: NDArray[np.generic]) -> BoxTable:
        """The rows at the given indices, or under a boolean mask."""
        return BoxTable(
            self.frame[index], self.track_id[index], self.xyxy[index],
            self.score[index], self.category[index], self.visibility[index],
        )  # fmt: skip

    def scaled(self, factor: float) -> BoxTable:
        """The same boxes for a picture ``factor`` times as large."""
        return replace(self, xyxy=self.xyxy * factor)


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Every overlapping pair (IoU > 0) of a ground-truth and a result box that share a frame.

    Boxes are numbered in frame order (the file's order within a frame); "frame" here means a row of ``frames``.

    Attributes:
        frames: (f,) sorted frame numbers that hold any box.
        gt_start, result_start: (f + 1,) first box of each frame.
        gt_id, result_id: (n,) and (m,) identities.
        row, col: (k,) ground-truth and result box of each pair, in row-major order within each frame.
        iou: (k,) intersection over union.
        pair_start: (f + 1,) first pair of each frame.
    """

    frames: IntArray
    gt_start: IntArray
    result_start: IntArray
    gt_id: IntArray
    result_id: IntArray
    row: IntArray
    col: IntArray
    iou: FloatArray
    pair_start: IntArray

    def frame_of_gt(self) -> IntArray:
        """(n,) frame row of each ground-truth box."""
        return np.repeat(np.arange(len(self.frames)), np.diff(self.gt_start))

    def frame_of_result(self) -> IntArray:
        """(m,) frame row of each result box."""
        return np.repeat(np.arange(len(self.frames)), np.diff(self.result_start))

    def keep(self, gt_mask: BoolArray, result_mask: BoolArray) -> Overlaps:
        """The overlaps without the boxes outside the (n,) and (m,) masks; frames keep their rows."""
        kept = gt_mask[self.row] & result_mask[self.col]
        new_gt = np.concatenate([[0], np.cumsum(gt_mask)])
        new_result = np.concatenate([[0], np.cumsum(result_mask)])
        new_pair = np.concatenate([[0], np.cumsum(kept)])
        return Overlaps(
            self.frames, new_gt[self.gt_start], new_result[self.result_start],
            self.gt_id[gt_mask], self.result_id[result_mask],
            new_gt[self.row[kept]], new_result[self.col[kept]], self.iou[kept], new_pair[self.pair_start],
        )  # fmt: skip


def find_overlaps(gt: BoxTable, result: BoxTable) -> Overlaps:
    """Overlaps of two tables, with the arithmetic of the official kit (so that an IoU of exactly 0.5 stays one)."""
    gt_order, result_order = (np.argsort(t.frame, kind="stable") for t in (gt, result))
    gt_frame, result_frame = gt.frame[gt_order], result.frame[result_order]
    frames = np.union1d(gt_frame, result_frame)
    gt_start = np.append(np.searchsorted(gt_frame, frames), len(gt_frame))
    result_start = np.append(np.searchsorted(result_frame, frames), len(result_frame))
    row, col, iou = _pairs(gt.xyxy[gt_order], result.xyxy[result_order], gt_start, result_start)
    pair_start = np.searchsorted(row, gt_start)
    return Overlaps(
        frames, gt_start, result_start, gt.track_id[gt_order], result.track_id[result_order],
        row, col, iou, pair_start,
    )  # fmt: skip


def _pairs(
    gt_xyxy: FloatArray, result_xyxy: FloatArray, gt_start: IntArray, result_start: IntArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """(k,) rows, columns and IoUs of all pairs with an overlap, in blocks of whole ground-truth rows."""
    widths = np.repeat(np.diff(result_start), np.diff(gt_start))  # how many results face each ground-truth box
    firsts = np.repeat(result_start[:-1], np.diff(gt_start))
    ends = np.cumsum(widths)
    gt = [np.ascontiguousarray(c) for c in gt_xyxy.T]
    result = [np.ascontiguousarray(c) for c in result_xyxy.T]
    blocks = []
    start, n = 0, len(widths)
    while start < n:
        done = ends[start] - widths[start]
        stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK_PAIRS, side="right")))
        blocks.append(_block(gt, result, widths[start:stop], firsts[start:stop], start))
        start = stop
    if not blocks:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return tuple(np.concatenate(parts) for parts in zip(*blocks, strict=True))  # type: ignore[return-value]


def _block(
    gt: list[FloatArray], result: list[FloatArray], widths: IntArray, firsts: IntArray, start: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """The overlapping pairs of the ground-truth boxes from ``start`` on; x first, since it rules most pairs out."""
    rows = slice(start, start + len(widths))
    col = np.arange(int(widths.sum())) + np.repeat(firsts - (np.cumsum(widths) - widths), widths)
    across = np.minimum(np.repeat(gt[2][rows], widths), result[2][col])
    across -= np.maximum(np.repeat(gt[0][rows], widths), result[0][col])
    near = np.flatnonzero(across > 0)
    col, across = col[near], across[near]
    row = np.repeat(np.arange(start, start + len(widths)), widths)[near]
    down = np.minimum(gt[3][row], result[3][col]) - np.maximum(gt[1][row], result[1][col])
    near = np.flatnonzero(down > 0)
    row, col = row[near], col[near]
    shared = across[near] * down[near]
    gt_area = (gt[2][row] - gt[0][row]) * (gt[3][row] - gt[1][row])
    result_area = (result[2][col] - result[0][col]) * (result[3][col] - result[1][col])
    return row, col, shared / (gt_area + result_area - shared)
