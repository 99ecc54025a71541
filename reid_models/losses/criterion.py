"""The weighted sum of a recipe's loss terms."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from reid_models.batch import ModelOutput, Target
from reid_models.errors import ReidError
from reid_models.losses.options import choice, number, suggest

COMMON = ("name", "weight", "on", "branches")
_GIVEN = ("self", "sizes", "width", "generator")
"""What a loss gets from here, not from the recipe."""


@dataclass(frozen=True)
class Sizes:
    """The widths of what a model gives: classes, features, pooled feature, attributes, descriptor; and a teacher's."""

    num_classes: int
    feature_dims: tuple[int, ...] = ()
    pooled_dim: int | None = None
    attributes: int = 0
    descriptor_dim: int | None = None
    teacher_dim: int | None = None

    def widths(self, on: str) -> list[int | None]:
        """The width of each tensor that ``on`` stands for; None: not known."""
        if on == "features":
            return list(self.feature_dims)
        return [{"pooled": self.pooled_dim, "descriptor": self.descriptor_dim}.get(on)]


def read(output: ModelOutput, on: str) -> list[Any]:
    """The tensors of a model's output that ``on`` stands for, one per branch; empty if the model gives none."""
    if on in ("features", "logits"):
        return list(getattr(output, on))
    if on == "bottleneck":
        return [] if output.mu is None or output.log_var is None else [(output.mu, output.log_var)]
    value = getattr(output, on)
    return [] if value is None else [value]


class Term(nn.Module):
    """One loss, its weight, and what it reads.

    Where a model has several features or logits, the loss is taken of each and the values are averaged (or added:
    ``branches: sum``). A loss with a state of its own has one state per feature.
    """

    def __init__(self, losses: Sequence[nn.Module], name: str, weight: float, on: str, branches: str) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.name, self.weight, self.on, self.branches = name, weight, on, branches

    def forward(self, output: ModelOutput, target: Target) -> Tensor:
        """The value without the weight."""
        inputs = read(output, self.on)
        if not inputs:
            raise ReidError(f"the loss '{self.name}' reads the model's {self.on}, and this model gives none"
                            + _HINTS.get(self.on, ""))
        if len(self.losses) not in (1, len(inputs)):
            raise ReidError(f"the loss '{self.name}' was built for {len(self.losses)} {self.on}, the model gives "
                            f"{len(inputs)}")
        losses = list(self.losses) * (1 if len(self.losses) == len(inputs) else len(inputs))
        total = torch.stack([loss(value, target) for loss, value in zip(losses, inputs, strict=True)]).sum()
        return total if self.branches == "sum" else total / len(inputs)


_HINTS = {
    "bottleneck": " (resnet50 with neck: vib has one)",
    "attribute_logits": " (resnet50 with attributes: M has them)",
    "pooled": " (try on: features)",
    "logits": " (it was built without classes)",
}


class Criterion(nn.Module):
    """total, parts = criterion(output, target).

    ``total`` is Σ weight · value; ``parts`` holds each term's value without its weight, detached, under its name (a
    second term of one name is ``name_2``). Some losses own parameters: give ``criterion.parameters()`` to the
    optimiser and ``criterion.state_dict()`` to the checkpoint.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    @classmethod
    def of(cls, terms: Sequence[Mapping[str, Any]], sizes: Sizes, table: Mapping[str, str],
           generator: torch.Generator | None = None) -> Criterion:
        """Build every term; see :func:`reid_models.losses.build_criterion`."""
        if isinstance(terms, Mapping | str) or not terms:
            raise ReidError("losses: expected a list of terms such as {name: cross_entropy, weight: 1.0}")
        generator = generator or torch.Generator().manual_seed(0)
        built: list[Term] = []
        for term in terms:
            made = build_term(term, sizes, table, generator)
            same = sum(other.name.split("#")[0] == made.name for other in built)
            made.name += f"#{same + 1}" if same else ""
            built.append(made)
        return cls(built)

    def forward(self, output: ModelOutput, target: Target) -> tuple[Tensor, dict[str, Tensor]]:
        """The total to step on, and the terms' values for the log."""
        parts: dict[str, Tensor] = {}
        weighted: list[Tensor] = []
        for term in self.terms:
            assert isinstance(term, Term)
            value = term(output, target)
            parts[term.name.replace("#", "_")] = value.detach()
            weighted.append(term.weight * value)
        return torch.stack(weighted).sum(), parts


def build_term(term: Mapping[str, Any], sizes: Sizes, table: Mapping[str, str], generator: torch.Generator) -> Term:
    """Build one term from what a recipe says.

    Raises:
        ReidError: an unknown loss or option, a value out of range, or a model that does not give what it reads.
    """
    if not isinstance(term, Mapping) or "name" not in term:
        raise ReidError(f"losses: a term needs a name, as in {{name: cross_entropy}}; got {term!r}")
    name = str(term["name"])
    loss = _loss_class(name, table)
    signature = inspect.signature(loss.__init__).parameters
    own = [key for key in signature if key not in _GIVEN]
    for key in term:
        if key not in (*COMMON, *own):
            raise ReidError(f"the loss '{name}' has no option '{key}'{suggest(str(key), (*COMMON, *own))}; it knows: "
                            f"{', '.join((*COMMON, *own))}")
    on = choice(f"{name}.on", term.get("on", loss.ON[0]), loss.ON)
    branches = choice(f"{name}.branches", term.get("branches", "mean"), ("mean", "sum"))
    weight = number(f"{name}.weight", term.get("weight", 1.0), low=0)
    _check_served(name, on, sizes)
    options = {key: value for key, value in term.items() if key in own}
    if "generator" in signature:
        options["generator"] = generator
    if "width" not in signature:
        return Term([loss(sizes, **options)], name, weight, on, branches)
    widths = sizes.widths(on)
    if None in widths:
        raise ReidError(f"the loss '{name}' owns weights and has to know how wide the model's {on} is")
    return Term([loss(sizes, width=width, **options) for width in widths], name, weight, on, branches)


def _loss_class(name: str, table: Mapping[str, str]) -> Any:
    path = name if ":" in name else table.get(name)
    if path is None:
        raise ReidError(f"unknown loss '{name}'{suggest(name, table)}; known: {', '.join(table)}")
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ReidError(f"loss '{name}' cannot be loaded from {path}: {error}") from error


def _check_served(name: str, on: str, sizes: Sizes) -> None:
    """Find before training what the model does not give."""
    missing = {
        "logits": sizes.num_classes < 1,
        "features": not sizes.feature_dims,
        "pooled": sizes.pooled_dim is None,
        "attribute_logits": sizes.attributes < 1,
    }.get(on, False)
    if missing:
        raise ReidError(f"the loss '{name}' reads the model's {on}, and this model gives none" + _HINTS.get(on, ""))
