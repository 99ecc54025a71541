"""Which of a network's classes are people."""

from __future__ import annotations

import ast
from typing import Any

from mctrack.errors import ConfigError, WeightsError, suggest

_PEOPLE = ("person", "pedestrian", "people", "human")


def literal(text: str | None) -> Any:
    """The Python value that a metadata text spells, or None."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def class_names(value: Any) -> dict[int, str]:
    """Index → name from ``{0: 'person', …}`` as ultralytics writes it, or a list; {} if it is neither."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    return {int(k): str(v) for k, v in value.items() if str(k).isdigit()}


def find_person(names: dict[int, str], count: int, wanted: int | str | None, shown: str) -> int:
    """Index of the class to keep.

    Args:
        names: index → name, as far as known.
        count: number of classes.
        wanted: what the user said: an index, a name or None.
        shown: the file's name, for messages.

    Raises:
        ConfigError: the user's class does not exist.
        WeightsError: the names are known, and none of them is a person.
    """
    if isinstance(wanted, str) and wanted.isdigit():
        wanted = int(wanted)
    if isinstance(wanted, int):
        if not 0 <= wanted < count:
            raise ConfigError(f"person_class {wanted}: {shown} has the classes 0…{count - 1}")
        return wanted
    lowered = {name.lower(): i for i, name in reversed(names.items())}
    if wanted is not None:
        if wanted.lower() not in lowered:
            raise ConfigError(f"person_class '{wanted}': {shown} has no such class{suggest(wanted.lower(), lowered)}")
        return lowered[wanted.lower()]
    for word in _PEOPLE:
        if word in lowered:
            return lowered[word]
    # a net that was never trained on anything has numbers for names
    if len(names) > 1 and any(name != str(i) for i, name in names.items()):
        some = ", ".join(list(names.values())[:5])
        raise WeightsError(f"{shown}: none of its classes is a person ({some}, …); "
                           "choose one with --set detect.options.person_class=NAME")
    return 0
