"""All cameras in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mctrack.sinks.draw import DARK, GREY, WHITE, Person, Style, clock, draw_view, printable, put_text, text_width
from mctrack.sinks.schema import CameraInfo
from mctrack.types import Frame, Image

WIDTH_PX = 1280
FPS = 25.0
"""Where a camera does not say its own rate."""


class Mosaic:
    """All cameras' latest pictures in a grid; one that is silent is shown dimmed, with the time of its last picture."""

    def __init__(self, cameras: Sequence[CameraInfo]) -> None:
        n = max(len(cameras), 1)
        self._columns = int(np.ceil(np.sqrt(n)))
        self._rows = -(-n // self._columns)
        shape = float(np.median([c.width / c.height for c in cameras if c.width and c.height] or [16 / 9]))
        widest = max([c.width for c in cameras] or [0]) or 640
        width = even(min(WIDTH_PX // self._columns, widest))
        height = even(width / shape)
        self._picture = width, height
        self._tile = width, height + Style.of(height).strip_px
        self.fps = max([c.fps for c in cameras if c.fps] or [FPS])
        self.name = "mosaic" if all(c.name != "mosaic" for c in cameras) else "mosaic-of-all"
        self._place = {c.name: i for i, c in enumerate(cameras)}
        self._silent_s = {c.name: max(1.0, 3 / (c.fps or FPS)) for c in cameras}
        self._last: dict[str, float] = {}
        self._dimmed: set[str] = set()
        self._canvas = np.full((self._rows * self._tile[1], self._columns * self._tile[0], 3), DARK, np.uint8)
        self._written_s = -np.inf

    def show(
        self, frame: Frame, people: Sequence[Person], counts: tuple[int, int], view: Image | None = None
    ) -> None:
        """Draw a camera's new picture; ``view``: as drawn for its own video already, used if it has the right size."""
        if frame.image is not None:
            slot = self._slot(frame.camera)
            if view is None or view.shape != slot.shape:
                view = draw_view(frame.image, people, self._picture, frame.camera, frame.time_s, counts)
            slot[:] = view
            self._last[frame.camera] = frame.time_s
            self._dimmed.discard(frame.camera)

    def picture(self, time_s: float) -> Image | None:
        """The mosaic at a time; None before any picture, and between its own frames where cameras take turns."""
        if not self._last or time_s - self._written_s < 0.6 / self.fps:
            return None
        self._written_s = time_s
        for camera, silent_s in self._silent_s.items():
            if camera not in self._dimmed and time_s - self._last.get(camera, -np.inf) > silent_s:
                self._dim(camera)
        return self._canvas

    def _slot(self, camera: str) -> Image:
        row, column = divmod(self._place[camera], self._columns)
        width, height = self._tile
        return self._canvas[row * height : (row + 1) * height, column * width : (column + 1) * width]

    def _dim(self, camera: str) -> None:
        self._dimmed.add(camera)
        slot, style = self._slot(camera), Style.of(self._picture[1])
        last = self._last.get(camera)
        slot[:] = (slot * 0.35).astype(np.uint8)
        if last is None:
            put_text(slot, printable(camera), round(style.text_px * 0.6), style.strip_px, style, GREY)
        text = "no signal yet" if last is None else f"no signal since {clock(last)}"
        middle = slot[(slot.shape[0] - style.strip_px) // 2 :]
        put_text(middle, text, max((slot.shape[1] - text_width(text, style)) // 2, 0), style.strip_px, style, WHITE)


def even(value: float) -> int:
    """The nearest even whole number, at least 2."""
    return max(2, 2 * round(value / 2))
