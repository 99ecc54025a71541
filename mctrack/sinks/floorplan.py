"""The floor seen from above, as far as a site knows it: a metre grid, areas, doors, cameras and what they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mctrack.sinks.draw import DARK, Style, printable, put_text, text_width
from mctrack.types import FloatArray, Image, IntArray

SIZE_PX = 1120, 680
"""Largest (width, height) of a plan."""
LEAST_M = 4.0
UNSEEN, SEEN = 42, (62, 74, 84)
"""Grey of the floor that no camera sees, and that one, two, or more see."""
GRID, GRID_5, EDGE, QUIET = (84, 84, 84), (120, 120, 120), (215, 215, 215), (175, 175, 175)
VIEW_LINE = (150, 138, 118)
FAR_M = 60.0
"""A camera that sees the horizon sees the floor no further than this."""


class Camera(Protocol):
    """What a plan needs of a calibrated camera (:class:`mctrack.geometry.cameras.GroundCamera`)."""

    @property
    def position(self) -> FloatArray | None:
        """(3,) metres."""
        ...

    def to_ground(self, pixels: FloatArray) -> FloatArray:
        """(n, 2) metres of (n, 2) pixels, NaN beyond the horizon."""
        ...

    def to_image(self, points: FloatArray) -> FloatArray:
        """(n, 2) pixels of (n, 3) metres, NaN behind the camera."""
        ...


class Place(Protocol):
    """What a plan needs of a site (:class:`mctrack.geometry.site.Site`)."""

    @property
    def areas(self) -> Mapping[str, FloatArray]:
        """Name → (k, 2) corners."""
        ...

    @property
    def doors(self) -> Mapping[str, FloatArray]:
        """Name → (2,)."""
        ...

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """The calibrated cameras."""
        ...


@dataclass(frozen=True, eq=False)
class FloorPlan:
    """A drawn floor.

    Attributes:
        picture: (h, w, 3), read-only: copy it to draw on it.
        corner_m: (2,) where its lower left corner is; x goes right and y up, as on a map.
        px_per_m: its scale.
    """

    picture: Image
    corner_m: FloatArray
    px_per_m: float

    def pixels(self, xy_m: FloatArray) -> FloatArray:
        """(n, 2) pixels of (n, 2) metres."""
        return to_pixels(xy_m, self.corner_m, self.px_per_m, self.picture.shape[0])


def to_pixels(xy_m: FloatArray, corner_m: FloatArray, px_per_m: float, height_px: int) -> FloatArray:
    """(n, 2) pixels of (n, 2) metres on a picture whose lower left corner is at ``corner_m``."""
    x, y = ((np.asarray(xy_m, float).reshape(-1, 2) - corner_m) * px_per_m).T
    return np.stack([x, height_px - y], axis=1)


def draw_plan(place: Place, sizes: Mapping[str, tuple[int, int]], walked: FloatArray) -> FloorPlan:
    """Draw the floor of a site, large enough for what it has and for where people walked.

    Args:
        place: the site. Areas, doors and cameras that it does not know are left out.
        sizes: camera → (width, height) of its pictures; only these cameras are drawn.
        walked: (n, 2) metres; all but the outermost two in a thousand are on the plan.
    """
    cameras = {name: place.cameras[name] for name in sizes if name in place.cameras}
    low, high = _extent(place, list(cameras.values()), walked)
    scale = min(SIZE_PX[0] / (high[0] - low[0]), SIZE_PX[1] / (high[1] - low[1]))
    width, height = (2 * int(np.ceil(v * scale / 2 - 1e-6)) for v in (high - low))
    plan = FloorPlan(np.zeros((height, width, 3), np.uint8), low, scale)
    seen = {name: _seen(plan, camera, sizes[name]) for name, camera in cameras.items()}
    count = np.sum(list(seen.values()), axis=0, dtype=int) if seen else np.ones((height, width), int)
    plan.picture[:] = np.array([UNSEEN, *SEEN])[np.minimum(count, len(SEEN))][:, :, None]
    _dim_outside(plan, list(place.areas.values()))
    style = Style.of(round(height * 0.8))
    _draw_grid(plan, style)
    for mask in seen.values():
        _draw_view(plan, mask)
    _draw_areas(plan, place, style)
    for name, camera in cameras.items():
        _draw_camera(plan, name, camera, sizes[name], style)
    plan.picture.setflags(write=False)
    return plan


def _extent(place: Place, cameras: Sequence[Camera], walked: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(2,) and (2,): the plan's lower left and upper right corner in metres."""
    parts = [*place.areas.values(), *(door[None] for door in place.doors.values())]
    if len(walked):
        parts.append(np.quantile(walked, [0.002, 0.998], axis=0))
    stands = [c.position[None, :2] for c in cameras if c.position is not None]
    core = np.concatenate(parts or stands or [np.zeros((1, 2))])
    # a camera on a mast far away must not shrink the floor to a stamp
    reach = 2.0 + 0.5 * float(np.linalg.norm(np.ptp(core, axis=0)))
    near = [s for s in stands if np.all((s > core.min(axis=0) - reach) & (s < core.max(axis=0) + reach))]
    points = np.concatenate([core, *near])
    low, high = points.min(axis=0), points.max(axis=0)
    size = np.maximum(high - low + 2 * max(0.4, 0.04 * float((high - low).max())), LEAST_M)
    # neither a tower nor a ribbon: the facts above and the names beside people need room
    size = np.maximum(size, [0.8 * size[1], 0.4 * size[0]])
    middle = (low + high) / 2
    return middle - size / 2, middle + size / 2


def _seen(plan: FloorPlan, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """(h, w) 0 or 1: the floor that a camera sees, as far as walls do not hide it. Every fourth pixel is asked."""
    import cv2

    height, width = plan.picture.shape[:2]
    step = 4
    x, y = np.meshgrid(np.arange(step / 2, width + step, step), np.arange(step / 2, height + step, step))
    floor = plan.corner_m + np.stack([x.ravel(), height - y.ravel()], axis=1) / plan.px_per_m
    pixels = camera.to_image(np.column_stack([floor, np.zeros(len(floor))]))
    # how far inside the picture, not whether: in between it is interpolated, and the outline gets no steps
    inside = np.minimum(pixels, np.array(size, float) - pixels).min(axis=1) / max(0.05 * max(size), 1)
    if camera.position is not None:
        inside = np.minimum(inside, FAR_M - np.linalg.norm(floor - camera.position[:2], axis=1))
    coarse = np.clip(np.nan_to_num(inside, nan=-1.0), -1, 1).reshape(x.shape).astype(np.float32)
    fine = cv2.resize(coarse, (coarse.shape[1] * step, coarse.shape[0] * step), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine[:height, :width] > 0, np.uint8)


def _dim_outside(plan: FloorPlan, areas: Sequence[FloatArray]) -> None:
    """Where nobody is followed is darker."""
    import cv2

    if areas:
        inside = np.zeros(plan.picture.shape[:2], np.uint8)
        for corners in areas:
            cv2.fillPoly(inside, [np.rint(plan.pixels(corners)).astype(np.int32)], (1,))
        plan.picture[inside == 0] = plan.picture[inside == 0] * 0.7


def _draw_view(plan: FloorPlan, mask: np.ndarray) -> None:
    import cv2

    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    height, width = mask.shape
    for outline in outlines:
        line: IntArray = cv2.approxPolyDP(outline, 1.5, True)[:, 0].astype(np.int64)
        rim = np.stack([line[:, 0] <= 0, line[:, 1] <= 0, line[:, 0] >= width - 1, line[:, 1] >= height - 1])
        for a, b, hidden in zip(line, np.roll(line, -1, 0), (rim & np.roll(rim, -1, 1)).any(axis=0), strict=True):
            if not hidden:  # along the rim the picture ends, not what the camera sees
                cv2.line(plan.picture, a.tolist(), b.tolist(), VIEW_LINE, 1, cv2.LINE_AA)


def _draw_grid(plan: FloorPlan, style: Style) -> None:
    """Lines a metre apart (more where that would be too dense), every fifth stronger, with metres at the edges."""
    import cv2

    height, width = plan.picture.shape[:2]
    every = next((s for s in (1, 2, 5, 10, 20, 50, 100, 1000) if s * plan.px_per_m >= 16), 10**6)
    wide = 1 if every * plan.px_per_m >= 3.2 * style.text_px else 5
    end = plan.corner_m + np.array([width, height]) / plan.px_per_m
    for axis in (0, 1):
        first, last = int(np.ceil(plan.corner_m[axis] / every)), int(np.floor(end[axis] / every))
        for k in range(first, last + 1):
            at = round((k * every - plan.corner_m[axis]) * plan.px_per_m)
            start, stop = ((at, 0), (at, height)) if axis == 0 else ((0, height - at), (width, height - at))
            cv2.line(plan.picture, start, stop, GRID_5 if k % 5 == 0 else GRID, 1)
            if k % wide == 0:
                text = f"{k * every} m" if k % 5 == 0 or wide > 1 else f"{k * every}"
                spot = (at + 3, height - style.text_px) if axis == 0 else (3, height - at - style.text_px * 0.6)
                # the corner belongs to the other axis
                if axis == 0 or at > 2.5 * style.text_px:
                    write(plan.picture, text, spot, _smaller(style), QUIET)


def _draw_areas(plan: FloorPlan, place: Place, style: Style) -> None:
    import cv2

    for name, corners in place.areas.items():
        outline = np.rint(plan.pixels(corners)).astype(np.int32)
        cv2.polylines(plan.picture, [outline], True, EDGE, 2, cv2.LINE_AA)
        middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
        write(plan.picture, name, (middle[0] - text_width(printable(name), style) / 2, middle[1]), style, QUIET)
    for name, spot in place.doors.items():
        x, y = np.rint(plan.pixels(spot)[0]).astype(int).tolist()
        r = round(style.text_px * 0.45)
        diamond = np.array([[x - r, y], [x, y - r], [x + r, y], [x, y + r]], np.int32)
        cv2.fillPoly(plan.picture, [diamond], DARK, cv2.LINE_AA)
        cv2.polylines(plan.picture, [diamond], True, EDGE, 2, cv2.LINE_AA)
        write(plan.picture, name, (x + 1.5 * r, y - 1.5 * r), style, EDGE)


def _draw_camera(plan: FloorPlan, name: str, camera: Camera, size: tuple[int, int], style: Style) -> None:
    """A small wedge that looks where the camera looks, and its name; only the name where the place is not known."""
    import cv2

    low = np.array([[size[0] / 2, size[1] * share] for share in (0.5, 0.7, 0.99)])
    ahead = camera.to_ground(low)
    ahead = ahead[np.isfinite(ahead).all(axis=1)]
    if camera.position is None:
        if len(ahead):
            write(plan.picture, name, plan.pixels(ahead[-1])[0].tolist(), style, EDGE)
        return
    here = plan.pixels(camera.position[:2])[0]
    toward = plan.pixels(ahead[0])[0] - here if len(ahead) else np.array([0.0, -1.0])
    toward = toward / max(float(np.linalg.norm(toward)), 1e-9)
    side, r = np.array([-toward[1], toward[0]]), style.text_px
    wedge = np.rint([here, here + r * (1.3 * toward + 0.7 * side), here + r * (1.3 * toward - 0.7 * side)])
    cv2.fillPoly(plan.picture, [wedge.astype(np.int32)], DARK, cv2.LINE_AA)
    cv2.polylines(plan.picture, [wedge.astype(np.int32)], True, EDGE, 2, cv2.LINE_AA)
    below = toward[1] < 0
    y = wedge[:, 1].max() + 0.9 * r if below else wedge[:, 1].min() - 0.9 * r
    write(plan.picture, name, (wedge[:, 0].mean() - text_width(printable(name), style) / 2, y), style, EDGE)


def _smaller(style: Style) -> Style:
    return Style(max(style.text_px * 0.8, 9.0), 1, style.strip_px)


def write(picture: Image, text: str, spot: Sequence[float], style: Style, color: tuple[int, int, int]) -> None:
    """Write a text whose left end and middle height are at ``spot``, moved inside the picture where it would not be."""
    text = printable(text)
    tall = round(style.text_px * 1.4)
    left = round(min(max(spot[0], 2), picture.shape[1] - text_width(text, style) - 2))
    top = round(min(max(spot[1] - tall / 2, 0), picture.shape[0] - tall))
    patch = picture[top : top + tall]
    for shift in (-1, 1):  # a dark rim, for text on lines
        put_text(patch[max(shift, 0) : tall + min(shift, 0)], text, left + shift, tall, style, DARK)
    put_text(patch, text, left, tall, style, color)
