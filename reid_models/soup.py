"""A uniform soup: the average of networks that went on from the same weights (Wortsman et al. 2022, section 2).

Trainings that start from one network, and differ by their order, their augmentation or their data, end in one valley
of the loss; the middle of it is often better than each, and costs no more to run. Two processors train two of them
without waiting for one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reid_models.errors import ReidError
from reid_models.weights import load_weights, save_weights


def average_weights(paths: Sequence[str | Path], out: str | Path) -> dict[str, Any]:
    """Write the average of some weights of the same network.

    Running statistics of batch normalisation are averaged as well, which is near, but not what the averaged network
    would have: train on for a moment, at a small rate (or see :func:`reid_models.swag.reestimate_batchnorm`).

    Args:
        paths: files of :func:`reid_models.weights.save_weights`, two or more.
        out: a name that ends in ``.safetensors``.

    Returns:
        The card: that of the first, with neither figures nor calibration, which were of other weights.

    Raises:
        ReidError: a file that cannot be read or written, or weights of different networks.
    """
    if len(paths) < 2:
        raise ReidError(f"an average needs two or more weights, got {len(paths)}")
    model, card = load_weights(paths[0])
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    shapes = {name: tensor.shape for name, tensor in state.items()}
    for path in paths[1:]:
        other, theirs = load_weights(path)
        found = other.state_dict()
        # not by their options: one file may spell out what is the default of the other
        if theirs["model"] != card["model"] or {n: t.shape for n, t in found.items()} != shapes:
            raise ReidError(f"{path}: weights of '{theirs['model']}' {theirs['options']}, while {paths[0]} has those "
                            f"of '{card['model']}' {card['options']}")
        for name, tensor in found.items():
            state[name] += tensor.double()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_((state[name] / len(paths)).to(tensor.dtype))
    kept = {key: card.get(key) for key in ("model", "options", "recipe", "data", "seed")}
    return save_weights(out, model, kept)
