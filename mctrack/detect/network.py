"""From frames through a network of the YOLO families to detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.config import DetectConfig
from mctrack.detect.decode import Layout, decode
from mctrack.detect.letterbox import letterbox_batch
from mctrack.detect.postprocess import finish, with_pictures
from mctrack.errors import ConfigError
from mctrack.types import Detections, Frame

Size = tuple[int, int]


def detect_frames(
    frames: Sequence[Frame], config: DetectConfig, layout: Layout, target: Callable[[Size], Size],
    forward: Callable[[NDArray[np.float32]], NDArray[Any]],
) -> list[Detections]:
    """One :class:`Detections` per frame.

    Pictures that share an input size go through the network together: all cameras at once unless their shapes
    differ. The size depends on the picture alone, so a camera's results do not depend on who else was there.

    Args:
        frames: of any cameras and sizes; those without a picture get no detections.
        config: thresholds.
        layout: how to feed the network and read it.
        target: (width, height) of the input for a picture of (width, height).
        forward: batch (n, 3, h, w) to output (n, a, b).
    """
    result = [Detections.empty() for _ in frames]
    index, images = with_pictures(frames)
    groups: dict[Size, list[int]] = {}
    for at, i in enumerate(index):
        groups.setdefault(target(frames[i].size), []).append(at)
    for size, members in groups.items():
        batch, placed = letterbox_batch([images[m] for m in members], size, layout.centred, layout.rgb, layout.scale)
        for m, box, output in zip(members, placed, forward(batch), strict=True):
            xyxy, score = decode(output, layout, size, config.score)
            result[index[m]] = finish(box.to_picture(xyxy), score, frames[index[m]].size, config)
    return result


def rectangle(size: Size, side: int, stride: int) -> Size:
    """The smallest input that holds a picture whose longer side is ``side``: no compute spent on a grey border."""
    width, height = (-(-v * side // (max(size) * stride)) * stride for v in size)  # rounded up, in whole numbers
    return min(width, side), min(height, side)


def check_input_size(wanted: int | None, stride: int) -> None:
    """Refuse sizes that a network cannot take.

    Raises:
        ConfigError: naming the key and the stride.
    """
    if wanted is not None and (wanted < stride or wanted % stride):
        raise ConfigError(f"detect.input_size is {wanted}: it must be a multiple of {stride}")
