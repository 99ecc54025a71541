"""Dataclasses from YAML, strictly: an unknown key or a value of the wrong kind is an error that names it."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from reid_models.errors import ReidError

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def parse_yaml(path: Path) -> dict[str, Any]:
    """A file's mapping.

    Raises:
        ReidError: it cannot be read, is no YAML or no mapping.
    """
    import yaml

    try:
        values = _load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ReidError(f"recipe {path} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ReidError(f"recipe {path}{line}: not valid YAML ({getattr(error, 'problem', None) or error})") from error
    if not isinstance(values, dict):
        raise ReidError(f"recipe {path}: expected 'key: value' lines")
    try:
        plain = _plain(values)
    except RecursionError as error:
        raise ReidError(f"recipe {path}: a part holds itself: its anchor stands inside") from error
    assert isinstance(plain, dict)
    return plain


def set_dotted(values: dict[str, Any], text: str) -> None:
    """Put ``dotted.key=value`` into nested mappings and lists; numbers reach into lists.

    Raises:
        ReidError: there is no '=', the value is no YAML, or the key leads nowhere.
    """
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ReidError(f"--set {text}: expected key=value, e.g. --set optimiser.lr=0.01")
    try:
        new = _plain(_load(value))
    except (yaml.YAMLError, RecursionError) as error:
        raise ReidError(f"--set {text}: the value is not valid YAML") from error
    *parts, last = key.strip().split(".")
    place: Any = values
    for part in parts:
        place = _step(place, part, text)
    if isinstance(place, list):
        place[_index(place, last, text)] = new
    else:
        place[last] = new


def _step(place: Any, part: str, text: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, text)]
    if place.get(part) is None:
        place[part] = {}
    if not isinstance(place[part], dict | list):
        raise ReidError(f"--set {text}: '{part}' holds a value, not keys")
    return place[part]


def _index(place: list[Any], part: str, text: str) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise ReidError(f"--set {text}: '{part}' is no place in a list of {len(place)}")
    return int(part)


def _load(text: str) -> Any:
    """YAML, each key of a mapping once; true and false are the only booleans: in YAML 1.1 the key ``on`` is one too."""
    import yaml
    from yaml.composer import ComposerError

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
            first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:bool"]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()}

        def compose_mapping_node(self, anchor: Any) -> Any:
            node: Any = super().compose_mapping_node(anchor)
            lines: dict[str, int] = {}
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in lines:
                        said = f"the key '{key.value}' is given twice, first in line {lines[key.value]}"
                        raise ComposerError(None, None, said, key.start_mark)
                    lines[key.value] = key.start_mark.line + 1
            return node

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$", re.IGNORECASE), list("tTfF"))
    return yaml.load(text, Loader)


def _plain(value: Any) -> Any:
    """YAML 1.1 reads 5e-4 as a text; it is a number."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def build(cls: Any, values: Any, where: str, prefix: str = "") -> Any:
    """An instance of a dataclass.

    Args:
        cls: the dataclass; its annotations say what fits.
        values: a mapping of plain values.
        where: for messages.
        prefix: dotted path of this part.

    Raises:
        ReidError: unknown keys, wrong kinds of values, or what the class itself raises.
    """
    if not isinstance(values, dict):
        raise ReidError(f"{where}: '{prefix.rstrip('.')}' is {values!r}, expected 'key: value' lines")
    known = [f.name for f in fields(cls)]
    for key in values:
        if key not in known:
            hint = suggest(key, known).replace("'", f"'{prefix}", 1) or f"; known here: {', '.join(known)}"
            raise ReidError(f"{where}: unknown key '{prefix}{key}'{hint}")
    hints = get_type_hints(cls)
    made = {key: _value(hints[key], value, where, f"{prefix}{key}") for key, value in values.items()}
    try:
        return cls(**made)
    except ReidError as error:
        raise ReidError(f"{where}: {prefix.rstrip('.')}: {error}" if prefix else f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str, key: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _value(next(a for a in get_args(kind) if a is not type(None)), value, where, key)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return build(kind, value, where, f"{key}.")
    if origin is list:
        if not isinstance(value, list | tuple):
            raise ReidError(f"{where}: '{key}' is {value!r}, expected a list")
        return [_value(get_args(kind)[0], v, where, f"{key}.{i}") for i, v in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ReidError(f"{where}: '{key}' is {value!r}, expected 'key: value' lines")
        return {str(k): _value(get_args(kind)[1], v, where, f"{key}.{k}") for k, v in value.items()}
    return _scalar(kind, value, where, key)


def _scalar(kind: Any, value: Any, where: str, key: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    name = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}[kind]
    raise ReidError(f"{where}: '{key}' is {value!r}, expected {name}")


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest of the choices, or an empty string."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
