"""Where results go: each sink gets every instant as it happens."""

from __future__ import annotations

from typing import Protocol

from mctrack.types import InstantResult


class Sink(Protocol):
    """Takes results instant by instant."""

    def write(self, result: InstantResult) -> None:
        """Take one instant; returns at once (slow work happens behind a bounded queue)."""
        ...

    def close(self) -> None:
        """Finish everything; the files are complete afterwards. Safe to call twice."""
        ...
