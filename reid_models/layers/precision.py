"""Pooling, regions and distances are computed in float32 whatever the autocast says; float64 stays float64."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32; anything wider stays as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
