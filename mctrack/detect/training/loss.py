"""Which cells answer for which person, and what their answers cost.

Cells are chosen by how well they score and fit at the moment (task-aligned assignment: Feng et al., "TOOD", ICCV 2021,
eq. 3 and 4); the score learns the fit itself (quality focal loss: Li et al., NeurIPS 2020, eq. 3), and boxes learn by
generalised IoU (Rezatofighi et al., CVPR 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_TOP_K = 9
_SCORE_POWER, _IOU_POWER = 0.5, 4.0
_BOX_WEIGHT = 2.0


@dataclass
class Truth:
    """One picture's people: ``xyxy`` (k, 4), and ``ignore`` (k,) bool where nothing is asked (hardly visible)."""

    xyxy: Tensor
    ignore: Tensor


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) IoU of (n, 4) and (m, 4) boxes."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = _area(a)[:, None] + _area(b)[None] - inter
    return inter / union.clamp(min=1e-9)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """(n,) generalised IoU of (n, 4) boxes row by row, −1…1."""
    inter = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    union = (_area(a) + _area(b) - inter).clamp(min=1e-9)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1).clamp(min=1e-9)
    return inter / union - (hull - union) / hull


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def assign_cells(score: Tensor, boxes: Tensor, centres: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """Task-aligned assignment in one picture.

    Args:
        score: (cells,) 0…1. boxes: (cells, 4) predicted. centres: (cells, 2). people: (k, 4), k ≥ 1.

    Returns:
        (cells,) the person each cell answers for, −1 for none, and (cells,) the score it should give.
    """
    x, y = centres[:, None, 0], centres[:, None, 1]
    inside = (x > people[:, 0]) & (x < people[:, 2]) & (y > people[:, 1]) & (y < people[:, 3])
    fit = pair_iou(boxes, people)
    metric = torch.where(inside, score[:, None] ** _SCORE_POWER * fit**_IOU_POWER, 0.0)
    best = metric.topk(min(_TOP_K, len(metric)), dim=0)
    chosen = torch.zeros_like(inside).scatter_(0, best.indices, best.values > 0)
    # a cell that two people want goes to the one that it fits better
    owner = torch.where(chosen, fit, -1.0).argmax(1)
    positive = chosen.any(1)
    mine = torch.zeros_like(chosen).scatter_(1, owner[:, None], positive[:, None])
    metric = torch.where(mine, metric, 0.0)
    peak_metric, peak_fit = metric.amax(0), torch.where(mine, fit, 0.0).amax(0)
    target = (metric / peak_metric.clamp(min=1e-9) * peak_fit).amax(1)
    return torch.where(positive, owner, -1), target


def detection_loss(logits: Tensor, boxes: Tensor, centres: Tensor, truths: list[Truth]) -> tuple[Tensor, Tensor]:
    """Score and box loss of a batch, each divided by the sum of all target scores.

    Args:
        logits: (n, cells). boxes: (n, cells, 4). centres: (cells, 2). truths: n of them.
    """
    logits, boxes = logits.float(), boxes.float()
    target, weight = torch.zeros_like(logits), torch.ones_like(logits)
    box_loss = logits.new_zeros(())
    for i, truth in enumerate(truths):
        people = truth.xyxy[~truth.ignore]
        for box in truth.xyxy[truth.ignore]:
            within = (centres > box[:2]).all(1) & (centres < box[2:]).all(1)
            weight[i, within] = 0.0
        if not len(people):
            continue
        with torch.no_grad():
            owner, wanted = assign_cells(logits[i].detach().sigmoid(), boxes[i].detach(), centres, people)
        found = (owner >= 0).nonzero()[:, 0]
        target[i, found] = wanted[found]
        weight[i, found] = 1.0
        box_loss = box_loss + (wanted[found] * (1 - giou(boxes[i, found], people[owner[found]]))).sum()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    score_loss = (weight * (logits.sigmoid() - target).abs().square() * entropy).sum()
    total = target.sum().clamp(min=1.0)
    return score_loss / total, _BOX_WEIGHT * box_loss / total
