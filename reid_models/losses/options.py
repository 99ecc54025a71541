"""Checks of options that a person wrote: one line that names the loss, the key and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from reid_models.errors import ReidError


def number(where: str, value: Any, *, above: float | None = None, low: float | None = None,
           high: float | None = None) -> float:
    """The value as a finite float; ``above`` is an open bound, ``low`` and ``high`` are closed ones."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ReidError(f"{where}: expected a number, got {value!r}")
    if above is not None and value <= above:
        raise ReidError(f"{where}: expected a number above {above:g}, got {value}")
    if low is not None and value < low:
        raise ReidError(f"{where}: expected at least {low:g}, got {value}")
    if high is not None and value > high:
        raise ReidError(f"{where}: expected at most {high:g}, got {value}")
    return float(value)


def choice(where: str, value: Any, allowed: Iterable[str]) -> str:
    """The value, which has to be one of the allowed words."""
    words = list(allowed)
    if value not in words:
        raise ReidError(f"{where}: {value!r} is not one of {', '.join(words)}{suggest(str(value), words)}")
    return str(value)


def switch(where: str, value: Any) -> bool:
    """The value, which has to be true or false."""
    if not isinstance(value, bool):
        raise ReidError(f"{where}: expected true or false, got {value!r}")
    return value


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest of the choices, or an empty string."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
