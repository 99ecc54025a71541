"""Names to classes without importing them: each kind of plug-in is one plain dict from name to ``module:Class``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from mctrack.errors import ConfigError, suggest


def resolve(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """Return the class (or function) that a name stands for.

    Args:
        kind: what it is, for messages (``detector``, ``embedder``, …).
        name: a key of the table, or ``package.module:Class`` for a third party's class.
        table: name → ``module:Class``.

    Raises:
        ConfigError: the name is unknown, or its module cannot be imported.
    """
    path = name if ":" in name else table.get(name)
    if path is None:
        raise ConfigError(f"unknown {kind} '{name}'{suggest(name, table)}; known: {', '.join(table)}")
    module_name, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module_name), attribute)
    except (ImportError, ValueError) as error:  # an empty module's name
        raise ConfigError(f"{kind} '{name}' cannot be loaded from {path}: {error}") from error
    except AttributeError as error:
        raise ConfigError(f"{kind} '{name}': {module_name} has no '{attribute}'") from error
