"""Options given as text or YAML: an unknown name is an error with a suggestion, a number out of range too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from reid_models.errors import ReidError

T = TypeVar("T")


def strictly(kind: type[T], values: Mapping[str, Any], what: str) -> T:
    """Build the dataclass ``kind`` from a mapping; lists become tuples.

    Raises:
        ReidError: a key that it does not have, with the nearest that it has.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise ReidError(f"{what}: unknown option '{key}'{hint}; known: {', '.join(known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def number(what: str, value: Any, low: float, high: float) -> None:
    """Raise unless ``value`` is a number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ReidError(f"{what} is {value!r}, expected a number from {low:g} to {high:g}")


def interval(what: str, value: Any, low: float, high: float) -> None:
    """Raise unless ``value`` is a pair of numbers, increasing, from ``low`` to ``high``."""
    numeric = isinstance(value, tuple) and len(value) == 2 and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    if not numeric or not low <= value[0] <= value[1] <= high:
        raise ReidError(f"{what} is {value!r}, expected two increasing numbers from {low:g} to {high:g}")
