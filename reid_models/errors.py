"""The one error of this package that a user can mend."""

from __future__ import annotations


class ReidError(ValueError):
    """An embedder, its weights or its input cannot be used: one clear line that says why and what to do."""
