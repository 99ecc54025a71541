"""Parameters and multiply-adds of a network without its classifiers, and the table of all networks.

A multiply-add is one product and its addition in a convolution, a linear layer or a matrix product of feature maps;
normalisation, activations, pooling and the resampling of regions are not counted, as is usual. (The papers' figures
partly count some of them: 0.72 G for Robust-ReID 1x includes batch normalisation.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reid_models.backbones import BACKBONES, build_model
from reid_models.errors import ReidError


def count_parameters(model: nn.Module) -> int:
    """Numbers that training changes, classifiers aside (they are not part of what is deployed)."""
    left_out = {id(p) for part in _heads(model) for p in part.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in left_out)


def count_macs(model: nn.Module, input_hw: tuple[int, int]) -> int:
    """Multiply-adds of the descriptor of one picture of this height and width.

    Counted by running the model once, in evaluation mode, with a hook on every convolution and linear layer; layers
    used several times count each time. The model is left as it was.
    """
    total = 0

    def add(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    first = next(model.parameters())
    try:
        with torch.no_grad():
            picture = torch.zeros(1, 3, *input_hw, device=first.device, dtype=first.dtype)
            model.descriptor_only(picture)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return total


def model_row(name: str) -> dict[str, Any]:
    """One row of the table: ``name``, ``params``, ``macs``, ``dim`` and ``input`` [height, width].

    Raises:
        ReidError: there is no such model.
    """
    # Building draws random weights; the caller's random numbers must not change because somebody counts.
    with torch.random.fork_rng(devices=[]):
        model = build_model(name)
    hw = tuple(model.input_hw)  # type: ignore[arg-type]
    return {"name": name, "params": count_parameters(model), "macs": count_macs(model, hw),
            "dim": model.dim, "input": list(hw)}


def model_table(names: list[str] | None = None) -> list[dict[str, Any]]:
    """Rows of these models, or of all in :data:`BACKBONES` that can be built here.

    Raises:
        ReidError: a model asked for by name cannot be built.
    """
    if names is not None:
        return [model_row(name) for name in names]
    rows = []
    for name in BACKBONES:
        try:
            rows.append(model_row(name))
        except ReidError:
            if name.startswith(("robust", "ha_cnn", "osnet")):  # these need torch alone
                raise
    return rows


def _heads(model: nn.Module) -> list[nn.Module]:
    """What only training uses: modules named after classifiers."""
    return [m for name, m in model.named_modules() if name.rsplit(".", 1)[-1] in ("classifier", "classifiers")]
