"""The networks by name. Listing them imports nothing; building one imports torch and its module."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reid_models.errors import ReidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

BACKBONES: dict[str, str] = {
    "robust_reid_1x": "reid_models.backbones.robust_reid:robust_reid_1x",
    "robust_reid_2x": "reid_models.backbones.robust_reid:robust_reid_2x",
    "robust_reid_0.5x": "reid_models.backbones.robust_reid:robust_reid_0_5x",
    "robust_reid_compact": "reid_models.backbones.compact:robust_reid_compact",
    "ha_cnn": "reid_models.backbones.ha_cnn:ha_cnn",
    "osnet_x0_25": "reid_models.backbones.osnet:osnet_x0_25",
    "osnet_x1_0": "reid_models.backbones.osnet:osnet_x1_0",
    "resnet50": "reid_models.backbones.resnet:resnet50",
    "mgn": "reid_models.backbones.mgn:mgn",
    "bdb": "reid_models.backbones.bdb:bdb",
}
"""Name → ``module:factory``; each is called as ``factory(num_classes, **options)``."""


def build_model(name: str, num_classes: int = 0, **options: Any) -> nn.Module:
    """Build a network with fresh weights (or those that an option names).

    The result has ``name``, ``dim`` and ``input_hw`` (height, width in pixels), maps pictures (n, 3, h, w), float32,
    RGB, normalised by ImageNet's statistics, to a :class:`reid_models.batch.ModelOutput`, and has
    ``descriptor_only(images) -> (n, dim)`` unit rows.

    Args:
        name: a key of :data:`BACKBONES`, or ``package.module:factory`` of a third party.
        num_classes: identities to tell apart while training; 0 builds no classifiers.
        options: the factory's own; an unknown one is an error.

    Raises:
        ReidError: there is no such network or option, or its module cannot be imported.
    """
    target = BACKBONES.get(name, name if ":" in name else None)
    if target is None:
        raise ReidError(f"unknown model '{name}'{_hint(name, BACKBONES)}; known: {', '.join(BACKBONES)}")
    if num_classes < 0:
        raise ReidError(f"model '{name}': num_classes {num_classes}: expected 0 (no classifier) or more")
    factory = _factory(name, target)
    _check_options(name, factory, options)
    model: nn.Module = factory(num_classes, **options)
    return model


def _factory(name: str, target: str) -> Callable[..., nn.Module]:
    module, _, attribute = target.partition(":")
    try:
        factory: Callable[..., nn.Module] = getattr(import_module(module), attribute)
    except (ImportError, ValueError) as error:  # ValueError: an empty module name
        hint = "; install mctrack[reid]" if getattr(error, "name", None) in ("torch", "torchvision") else ""
        raise ReidError(f"model '{name}' cannot be loaded from {target}: {error}{hint}") from error
    except AttributeError as error:
        raise ReidError(f"model '{name}': {module} has no '{attribute}'") from error
    return factory


def _check_options(name: str, factory: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.name != "num_classes"]
    for option in options:
        if option not in known:
            listed = ", ".join(known) or "none"
            raise ReidError(f"model '{name}' has no option '{option}'{_hint(option, known)}; options: {listed}")


def _hint(word: str, choices: Iterable[str]) -> str:
    near = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
