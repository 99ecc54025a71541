"""Showing how a run gets on."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from mctrack.errors import fall_silent
from mctrack.sinks.census import Census
from mctrack.types import InstantResult

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LIVE_S = 0.25
PLAIN_S = 5.0
_SPEED_S = 10.0  # the speed shown is that of the last seconds


class ProgressSink:
    """A line per camera with frames, frames per second and time left, and the identities so far.

    On a terminal the lines are renewed four times a second at most; elsewhere a plain line goes out every few seconds.
    Where nobody reads them any more the run goes on without.

    Args:
        expected: camera → number of frames that will come, None where nobody knows (live cameras).
        quiet: show nothing.
        stream: where to write; default: standard error.
    """

    def __init__(self, expected: Mapping[str, int | None], quiet: bool = False, stream: TextIO | None = None) -> None:
        self._expected = dict(expected)
        self._done = dict.fromkeys(expected, 0)
        self._census = Census()
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._begin = self._shown = time.monotonic()
        self._history: deque[tuple[float, dict[str, int]]] = deque([(self._begin, dict(self._done))])
        self._live: Live | None = None
        self._closed = False
        if not quiet and self._stream.isatty():
            try:
                self._live = self._start()
            except OSError:
                self._hush()

    def write(self, result: InstantResult) -> None:
        """Count one instant; shows it only now and then."""
        if self._quiet or self._closed:
            return
        for frame in result.instant.frames:
            self._done[frame.camera] = self._done.get(frame.camera, 0) + 1
        self._census.learn(result)
        now = time.monotonic()
        if now - self._shown >= (PLAIN_S if self._live is None else LIVE_S):
            self._show(now)

    def close(self) -> None:
        """Show the final counts. Safe to call twice."""
        if self._quiet or self._closed:
            return
        self._closed = True
        # over the whole run: the last seconds' speed says little once it is over
        self._history = deque([(self._begin, dict.fromkeys(self._done, 0))])
        self._show(time.monotonic())
        try:
            if self._live is not None:
                self._live.stop()
        except OSError:
            self._hush()

    def lines(self) -> list[tuple[str, str, str, str]]:
        """(camera, frames, frames per second, time left) of each camera, as shown."""
        now = time.monotonic()
        since, before = self._history[0]
        rows = []
        for camera, done in self._done.items():
            total = self._expected.get(camera)
            speed = (done - before.get(camera, 0)) / max(now - since, 1e-6)
            left = ""
            if total and speed > 0 and not self._closed:
                left = f"{_clock(max(total - done, 0) / speed)} left"
            rows.append((camera, f"{done}/{total}" if total else f"{done}", f"{speed:.1f} fps", left))
        return rows

    @property
    def identities(self) -> int:
        """Identities so far, merged ones counted once."""
        return len(self._census)

    def _show(self, now: float) -> None:
        try:
            if self._live is not None:
                self._live.update(self._table(), refresh=True)
            else:
                parts = [" ".join(filter(None, row)) for row in self.lines()]
                print(" | ".join([*parts, f"identities {self.identities}"]), file=self._stream, flush=True)
        except OSError:
            self._hush()
        self._shown = now
        self._history.append((now, dict(self._done)))
        while len(self._history) > 1 and now - self._history[0][0] > _SPEED_S:
            self._history.popleft()

    def _hush(self) -> None:
        """Show nothing more: the terminal or the reader of the lines has gone."""
        self._quiet = True
        fall_silent(self._stream)
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()

    def _start(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        live = Live(self._table(), console=Console(file=self._stream), auto_refresh=False)
        live.start()
        return live

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        for row in self.lines():
            # as Text: a camera called [red] is no markup
            table.add_row(*map(Text, row))
        table.add_row(Text("identities"), Text(str(self.identities)))
        return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
