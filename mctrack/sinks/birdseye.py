"""A run from above: everyone's way over the floor, as a film and as a picture.

Identities are those that the run ended with, in the colours of the annotated videos; a merge that came late holds here
from the beginning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from mctrack.errors import ConfigError, OutputError
from mctrack.sinks.draw import DARK, WHITE, Style, clock, color_of, put_label, put_text, strip, text_width
from mctrack.sinks.files import replacing
from mctrack.sinks.floorplan import SEEN, Place, draw_plan
from mctrack.sinks.paths import GroundPath, Travelled, ground_paths, travelled
from mctrack.sinks.reader import StoreReader
from mctrack.sinks.video import EncoderFactory
from mctrack.types import FloatArray, Image

FPS = 10.0
TRAIL_S = 5.0
TRAIL_POINTS = 40
MOST_PICTURES = 3000
"""A film that nobody said the speed of has no more: five minutes. Longer runs are shown faster, so that whoever stops
a run need not wait long for it to end."""


class BirdsEye:
    """A finished run from above.

    Args:
        store: the run's database.
        place: its site.

    Raises:
        OutputError: the database cannot be read.
    """

    def __init__(self, store: StoreReader, place: Place) -> None:
        cameras = store.cameras()
        self.paths = ground_paths(store)
        times = [t for t in (store.frame_times(c.name)[1] for c in cameras) if len(t)]
        self.span_s = (min(float(t[0]) for t in times), max(float(t[-1]) for t in times)) if times else (0.0, 0.0)
        walked = np.concatenate([np.zeros((0, 2)), *(p.xy_m for p in self.paths.values())])
        self.plan = draw_plan(place, {c.name: (c.width, c.height) for c in cameras}, walked)
        self._style = Style.of(round(self.plan.picture.shape[0] * 0.8))
        # on a square seen from far away people are small
        people_px = min(self._style.text_px, max(0.45 * self.plan.px_per_m, 10.5))
        self._people_style = Style(people_px, self._style.line_px, self._style.strip_px)
        taken = {c.name for c in cameras}
        self.name = next(n for n in ("birdseye", "birdseye-of-all", "birdseye-of-the-run") if n not in taken)

    def write(self, folder: Path, encoder: EncoderFactory) -> list[Path]:
        """Write ``birdseye.mp4`` and ``birdseye.png`` (called otherwise where a camera has that name) into a folder."""
        film, picture = folder / f"{self.name}.mp4", folder / f"{self.name}.png"
        self.film(film, encoder)
        self.picture(picture)
        return [film, picture]

    # ------------------------------------------------------------------ the film

    def film(self, path: Path, encoder: EncoderFactory, speed: float | None = None) -> None:
        """Write the film.

        Args:
            path: an .mp4 file.
            encoder: makes it.
            speed: times as fast as it was; default: as it was, or as makes the film five minutes long.

        Raises:
            ConfigError: the speed makes no sense.
            OutputError: it cannot be written.
        """
        pictures = (self.span_s[1] - self.span_s[0]) * FPS
        speed = float(max(1, math.ceil(pictures / MOST_PICTURES))) if speed is None else speed
        if not 0.01 <= speed <= 10_000:
            raise ConfigError(f"speed {speed:g} is not in 0.01…10000")
        height, width = self.plan.picture.shape[:2]
        size = width, height + self._style.strip_px
        with replacing(path) as temporary, closing(encoder(temporary, size, FPS)) as file:
            for k, picture in enumerate(self._pictures(speed)):
                file.write(picture, k / FPS)

    def _pictures(self, speed: float) -> Iterator[Image]:
        names = list(self.paths)
        starts = np.array([self.paths[n].time_s[0] for n in names])
        ends = np.array([self.paths[n].time_s[-1] for n in names])
        for k in range(math.floor((self.span_s[1] - self.span_s[0]) * FPS / speed) + 1):
            time_s = self.span_s[0] + k * speed / FPS
            there = np.flatnonzero((starts <= time_s) & (ends >= time_s - TRAIL_S * speed))
            yield self.moment(time_s, speed, [names[i] for i in there.tolist()], int((starts <= time_s).sum()))

    def moment(self, time_s: float, speed: float, names: list[int], so_far: int) -> Image:
        """The floor at a time, below a strip with the facts."""
        floor, present = self.plan.picture.copy(), []
        for name in names:
            path = self.paths[name]
            self._trail(floor, path, time_s, TRAIL_S * speed, color_of(name))
            here = where(path, time_s)
            if here is not None:
                present.append((name, self.plan.pixels(here)[0]))
        self._people(floor, present)
        title = "floor" if speed == 1 else f"floor x{speed:g}"
        return np.concatenate([strip(floor.shape[1], self._style, title, time_s, (len(present), so_far)), floor])

    def _trail(self, floor: Image, path: GroundPath, time_s: float, back_s: float, color: tuple[int, int, int]) -> None:
        """The way of the last seconds, fading into the floor."""
        import cv2

        a, b = np.searchsorted(path.time_s, [time_s - back_s, time_s + 1e-6])
        if b - a < 2:
            return
        rows = np.arange(b - 1, a - 1, -max(1, (b - a) // TRAIL_POINTS))[::-1]
        times, spots = path.time_s[rows], np.rint(self.plan.pixels(path.xy_m[rows]))
        share = np.clip(1 - (time_s - times) / back_s, 0, 1)
        step_s = path.gap_s + float(np.diff(times).min(initial=0.0)) * (len(rows) > 1)
        for i in range(1, len(rows)):
            if times[i] - times[i - 1] <= step_s:
                mixed = share[i] * np.array(color, float) + (1 - share[i]) * SEEN[-1]
                a_px, b_px = np.clip(spots[i - 1 : i + 1], -30_000, 30_000).astype(int).tolist()
                thick = max(1, round(self._style.line_px * (1 + share[i])))
                cv2.line(floor, a_px, b_px, mixed.tolist(), thick, cv2.LINE_AA)

    def _people(self, floor: Image, present: list[tuple[int, FloatArray]]) -> None:
        """A dot for everyone, then the numbers, so that no dot covers one."""
        import cv2

        r = round(self._people_style.text_px * 0.5)
        dots = [(name, np.rint(np.clip(spot, -30_000, 30_000)).astype(int)) for name, spot in present]
        for name, dot in dots:
            cv2.circle(floor, dot.tolist(), r + 2, DARK, -1, cv2.LINE_AA)
            cv2.circle(floor, dot.tolist(), r, color_of(name), -1, cv2.LINE_AA)
        taken = [(int(x) - r, int(y) - r, int(x) + r, int(y) + r) for _, (x, y) in dots]
        for name, dot in dots:
            box = np.stack([dot - r - 2, dot + r + 2])
            taken.append(put_label(floor, box, f"ID {name}", color_of(name), self._people_style, taken))

    # ------------------------------------------------------------------ the picture

    def picture(self, path: Path) -> None:
        """Write everyone's whole way into one picture, with a table of distances and speeds.

        Raises:
            OutputError: it cannot be written.
        """
        import cv2

        with replacing(path) as temporary:
            fine, data = cv2.imencode(".png", self.whole())
            if not fine:
                raise OutputError(f"{path}: the picture cannot be encoded")
            temporary.write_bytes(data.tobytes())

    def whole(self) -> Image:
        """(h, w, 3) everyone's whole way: a ring where it begins, a dot with the number where it ends."""
        import cv2

        floor = self.plan.picture.copy()
        r = round(self._style.text_px * 0.4)
        for name, path in self.paths.items():
            for part in path.stretches():
                spots = np.rint(np.clip(self.plan.pixels(part.xy_m), -30_000, 30_000)).astype(np.int32)
                cv2.polylines(floor, [spots], False, DARK, self._style.line_px + 2, cv2.LINE_AA)
                cv2.polylines(floor, [spots], False, color_of(name), self._style.line_px, cv2.LINE_AA)
            start = self.plan.pixels(path.xy_m[:1])[0]
            cv2.circle(floor, np.rint(start).astype(int).tolist(), r, color_of(name), 2, cv2.LINE_AA)
        self._people(floor, [(name, self.plan.pixels(p.xy_m[-1:])[0]) for name, p in self.paths.items()])
        whole = np.concatenate([floor, self._table(floor.shape[0])], axis=1)
        head = np.full((self._style.strip_px, whole.shape[1], 3), DARK, np.uint8)
        title = f"floor, {clock(self.span_s[0])} to {clock(self.span_s[1])}"
        put_text(head, title, round(self._style.text_px * 0.6), self._style.strip_px, self._style, WHITE)
        return np.concatenate([head, whole])

    def _table(self, height_px: int) -> Image:
        """(height_px, w, 3) a line for everyone, longest way first, as many as there is room for."""
        ways = sorted(((name, travelled(path)) for name, path in self.paths.items()), key=lambda w: -w[1].distance_m)
        style, row_px = self._style, self._style.strip_px
        fit = max(height_px // row_px - 2, 0)
        lines = [("", "", "way", "mean", "top"), *(_line(*w) for w in ways[:fit])]
        columns = [max(text_width(line[i], style) for line in lines) for i in range(5)]
        gap = round(style.text_px)
        table = np.full((height_px, sum(columns) + 6 * gap, 3), DARK, np.uint8)
        for k, line in enumerate(lines):
            row, right = table[k * row_px : (k + 1) * row_px], gap
            for i, text in enumerate(line):
                right += columns[i]
                color = color_of(ways[k - 1][0]) if k and i == 0 else WHITE
                put_text(row, text, right - text_width(text, style), row_px, style, color)
                right += gap
        if len(ways) > fit:
            row = table[len(lines) * row_px : (len(lines) + 1) * row_px]
            put_text(row, f"and {len(ways) - fit} more", gap, row_px, style, WHITE)
        return table


def _line(name: int, way: Travelled) -> tuple[str, str, str, str, str]:
    return (f"ID {name}", clock(way.located_s), f"{way.distance_m:.1f} m", f"{way.mean_m_s:.1f} m/s",
            f"{way.top_m_s:.1f} m/s")  # fmt: skip


def where(path: GroundPath, time_s: float) -> FloatArray | None:
    """(2,) metres at a time, in between two sightings on a straight line; None where it is not known."""
    b = int(np.searchsorted(path.time_s, time_s))
    if b < len(path.time_s) and path.time_s[b] - time_s < 1e-6:
        return path.xy_m[b]
    if b == 0 or b == len(path.time_s):
        # the last sighting stays for a picture or two
        return path.xy_m[-1] if b and time_s - path.time_s[-1] <= 0.3 else None
    if path.time_s[b] - path.time_s[b - 1] > path.gap_s:
        return None
    share = (time_s - path.time_s[b - 1]) / (path.time_s[b] - path.time_s[b - 1])
    return np.asarray(path.xy_m[b - 1] + share * (path.xy_m[b] - path.xy_m[b - 1]))


