"""HA-CNN (Li, Zhu and Gong, "Harmonious Attention Network for Person Re-Identification", CVPR 2018).

The baseline of Robust-ReID: the same two branches with one Inception-A and one Inception-B per stage, average pooling
and features that are not normalised. 2.92 M parameters as read here (the paper prints 2.7 M): 0.23 M of them are the
1 × 1 convolutions that mix places and channels in the soft attention.
"""

from __future__ import annotations

from reid_models.backbones.robust_reid import INPUT_HW, Plan, RobustReID

PLAN = Plan(32, (128, 256, 384), (1, 1, 1), 512)


def ha_cnn(num_classes: int = 0, pool: str = "average", normalised: bool = False,
           input_hw: tuple[int, int] = INPUT_HW) -> RobustReID:
    """The paper's baseline: 160 × 64 pixels, 1024-d."""
    return RobustReID("ha_cnn", PLAN, num_classes, blocks="inception", pool=pool, normalised=normalised,
                      input_hw=input_hw)
