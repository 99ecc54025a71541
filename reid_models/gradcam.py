"""Grad-CAM (Selvaraju et al. 2017): where in a picture a ReID model looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_models.errors import ReidError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from reid_models.batch import ModelOutput


def grad_cam(model: nn.Module, images: Tensor, *, reference: Tensor | None = None,
             layer: str | None = None) -> NDArray[np.float32]:
    """Attention maps: ReLU(Σₖ αₖ Aᵏ), with αₖ the mean over the map of ∂y/∂Aᵏ (eq. 1 and 2).

    y is the cosine similarity with ``reference`` where one is given (what makes these two alike?), else the logit of
    the class that the model finds most likely, else, for a model without classes, half the squared length of its
    pooled feature (what is there to be described at all?).

    Args:
        model: as in ``reid_models.backbones``; its mode and its gradients are left as they are. It is run in
            evaluation mode.
        images: (n, 3, h, w) float32, normalised, on the model's device.
        reference: (n, dim) unit rows, or (dim,) for all.
        layer: name of the module whose output (n, c, h', w') is looked at; default: the first
            of :func:`map_layers` on which y depends.

    Returns:
        (n, h, w) float32 in 0…1, each map's largest value being 1 (a map of zeros stays zero).

    Raises:
        ReidError: there is no such layer, or it gives no map, or the model says nothing that y could be.
    """
    from torch.nn import functional

    was = model.training
    model.eval()
    try:
        names = map_layers(model, images[:1]) if layer is None else [layer]
        activation, gradient = _gradient(model, images, names, reference)
    finally:
        model.train(was)
    maps = (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu().float()
    maps = functional.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    largest = maps.amax(dim=(1, 2), keepdim=True)
    return np.asarray((maps / largest.clamp(min=1e-12)).detach().cpu().numpy(), np.float32)


def map_layers(model: nn.Module, image: Tensor) -> list[str]:
    """Names of the modules whose output is one map of more than one place for the whole picture, best first.

    Best are those with the most channels, and of these the last to run: the end of the trunk in all our models.
    Attention modules come last of all: they give weights, not features.

    Args:
        model: in evaluation mode.
        image: (1, 3, h, w).
    """
    import torch

    seen: list[tuple[bool, int, int, str]] = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # more than one map a picture: parts of it, whose places are not the picture's
            if isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == 1 \
                    and output.shape[2] * output.shape[3] > 1:
                seen.append(("attention" not in name, output.shape[1], len(seen), name))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise ReidError("Grad-CAM: no layer of the model gives a map (n, channels, height, width)")
    return list(dict.fromkeys(name for *_, name in sorted(seen, reverse=True)))


def _gradient(model: nn.Module, images: Tensor, names: list[str], reference: Tensor | None) -> tuple[Tensor, Tensor]:
    """Output of the first of the layers that y depends on, and the gradient of y by it."""
    import torch

    modules = dict(model.named_modules())
    kept: list[tuple[int, Tensor]] = []

    def keep(rank: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
            if not isinstance(output, torch.Tensor) or output.ndim != 4 or len(output) != len(images):
                raise ReidError(f"Grad-CAM: layer '{names[rank]}' gives no map (n, channels, height, width)")
            kept.append((rank, output.clone()))
            # what comes next may write into it in place; the kept one stays as it was
            return kept[-1][1].clone()

        return hook

    for name in names:
        if name not in modules:
            raise ReidError(f"Grad-CAM: the model has no layer '{name}'; it has {', '.join(list(modules)[1:8])}, …")
    handles = [modules[name].register_forward_hook(keep(rank)) for rank, name in enumerate(names)]
    try:
        with torch.enable_grad():
            y = _score(model(images.detach().requires_grad_()), reference)
            gradients = torch.autograd.grad(y.sum(), [a for _, a in kept], allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    # a layer that runs several times (shared weights) is looked at in its last run
    found = [(rank, -k) for k, ((rank, _), gradient) in enumerate(zip(kept, gradients, strict=True))
             if gradient is not None]
    if not found:
        raise ReidError(f"Grad-CAM: what the model says does not depend on layer '{names[0]}'")
    place = -min(found)[1]
    return kept[place][1], gradients[place]


def _score(output: ModelOutput, reference: Tensor | None) -> Tensor:
    """(n,) what is explained."""
    if reference is not None:
        return (output.descriptor * reference.to(output.descriptor)).sum(1)
    if output.logits:
        return output.logits[0].amax(1)
    if output.pooled is not None:
        return output.pooled.square().sum(1) / 2
    raise ReidError("Grad-CAM: the model has neither classes nor a pooled feature; give a reference")
