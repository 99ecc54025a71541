"""Drawing tracked people into pictures. Sizes follow the picture's height, so it reads alike at any size."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.types import FloatArray, Frame, Image, IntArray, Tracks, TrackState

Color = tuple[int, int, int]
GREY: Color = (150, 150, 150)
DARK: Color = (34, 30, 28)
WHITE: Color = (245, 245, 245)
TRAIL_S = 2.0
COAST_S = 0.5
"""A track that is not seen is drawn dashed for this long, then not at all: predictions soon go astray."""


@lru_cache(maxsize=4096)
def color_of(global_id: int) -> Color:
    """Blue, green, red (0–255) of an identity: the same wherever it appears.

    Neighbouring numbers are a golden angle apart in hue and change lightness as well, in a space where equal steps look
    equal (OKLab), so that they differ for people who cannot tell the hues.
    """
    # Start and lightness: the best of a search for the least difference among 8, 12, 24 and 36 people, also as seen
    # without red or green cones. Golden angles nearly repeat after 8, 13 and 21: lightness must not.
    hue = np.deg2rad(120 + 137.50776 * global_id)
    lightness = (0.71, 0.63, 0.55, 0.87, 0.79)[global_id % 5]
    for chroma in np.arange(0.21, 0, -0.01):  # the strongest colour a screen can show
        rgb = _oklab_to_rgb(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
        if rgb.min() >= 0 and rgb.max() <= 1:
            break
    red, green, blue = (round(255 * float(v)) for v in np.clip(rgb, 0, 1))
    return blue, green, red


def _oklab_to_rgb(lightness: float, a: float, b: float) -> FloatArray:
    """OKLab to sRGB in 0…1 (B. Ottosson, "A perceptual color space for image processing", 2020)."""
    lms = np.array([
        lightness + 0.3963377774 * a + 0.2158037573 * b,
        lightness - 0.1055613458 * a - 0.0638541728 * b,
        lightness - 0.0894841775 * a - 1.2914855480 * b,
    ]) ** 3  # fmt: skip
    linear = np.array([
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]) @ lms  # fmt: skip
    curved = 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved)


def clock(time_s: float) -> str:
    """``m:ss`` or ``h:mm:ss``."""
    minutes, seconds = divmod(int(abs(time_s)), 60)
    sign = "-" if time_s <= -1 else ""
    hours = f"{minutes // 60}:{minutes % 60:02d}" if minutes >= 60 else str(minutes)
    return f"{sign}{hours}:{seconds:02d}"


@dataclass
class Person:
    """One track to draw: ``box`` and ``trail`` (k, 2) in the source's pixels, newest last."""

    box: FloatArray
    global_id: int
    seen: bool
    trail: NDArray[np.float64]


@dataclass
class Trails:
    """Where a camera's people stood in the last seconds; tracks that are gone are forgotten."""

    _points: dict[int, deque[tuple[float, float, float]]] = field(default_factory=dict)

    def people(self, frame: Frame, tracks: Tracks, global_ids: IntArray) -> list[Person]:
        """Take one frame's tracks and return whom to draw, far ones (higher up) first."""
        points, people = {}, []
        for i, track_id in enumerate(tracks.track_id.tolist()):
            trail = points[track_id] = self._points.get(track_id) or deque(maxlen=256)
            x1, _, x2, y2 = tracks.xyxy[i].tolist()
            seen = bool(tracks.detection_index[i] >= 0)
            if seen:
                trail.append((frame.time_s, (x1 + x2) / 2, y2))
            while trail and frame.time_s - trail[0][0] > TRAIL_S:
                trail.popleft()
            if seen or self._coasts(tracks, i, int(global_ids[i])):
                path = np.array([p[1:] for p in trail]).reshape(-1, 2)
                people.append(Person(tracks.xyxy[i], int(global_ids[i]), seen, path))
        self._points = points
        return sorted(people, key=lambda p: float(p.box[3]))

    @staticmethod
    def _coasts(tracks: Tracks, i: int, global_id: int) -> bool:
        alive = tracks.state[i] in (TrackState.CONFIRMED, TrackState.LOST)
        return bool(global_id >= 0 and alive and tracks.time_since_update[i] <= COAST_S)


@dataclass(frozen=True)
class Style:
    """Sizes in pixels for a picture of a given height."""

    text_px: float
    line_px: int
    strip_px: int

    @staticmethod
    def of(height_px: int) -> Style:
        """Sizes for a picture ``height_px`` high; small ones keep a legible minimum."""
        text = min(max(height_px / 34, 10.0), 40.0)
        return Style(text, max(1, round(height_px / 240)), 2 * round(text))


def fit(image: Image, size: tuple[int, int]) -> tuple[Image, float, float, float]:
    """Resize a picture into (width, height) without distortion, dark bars where the shape differs.

    Returns:
        The picture (a fresh array), the scale, and the left and top bar in pixels.
    """
    import cv2

    height, width = image.shape[:2]
    # a bar of a pixel or two (sizes must be even) is not worth having
    scale = min(size[0] / width, size[1] / height)
    inner = round(width * scale), round(height * scale)
    if abs(inner[0] - size[0]) <= 2 and abs(inner[1] - size[1]) <= 2:
        inner = size
    # averaging areas takes five times as long and only pays where linear sampling would skip pixels
    method = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
    resized = image.copy() if inner == (width, height) else cv2.resize(image, inner, interpolation=method)
    if inner == size:
        return np.ascontiguousarray(resized, np.uint8), scale, 0.0, 0.0
    canvas = np.full((size[1], size[0], 3), DARK, np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = resized
    return canvas, scale, float(left), float(top)


def draw_view(
    image: Image, people: Sequence[Person], size: tuple[int, int], title: str, time_s: float, counts: tuple[int, int]
) -> Image:
    """One camera's picture with its people and a strip of facts above.

    Args:
        image: (h, w, 3) as the camera gave it; not changed.
        people: whom to draw.
        size: (width, height) of the picture in the result, in pixels; the strip (see :class:`Style`) comes on top.
        title: the camera's name.
        time_s: for the clock.
        counts: people in this picture, identities so far.
    """
    style = Style.of(size[1])
    picture, scale, left, top = fit(image, size)
    shift = np.array([left, top])
    draw_people(picture, people, scale, shift, style)
    return np.concatenate([strip(size[0], style, title, time_s, counts), picture])


def draw_people(picture: Image, people: Sequence[Person], scale: float, shift: FloatArray, style: Style) -> None:
    """Draw trails, then boxes, then labels, so that no box covers a number."""
    import cv2

    corners = [np.rint(p.box.reshape(2, 2) * scale + shift).astype(int) for p in people]
    _draw_trails(picture, people, scale, shift, style)
    for person, corner in zip(people, corners, strict=True):
        first, last = tuple(corner[0].tolist()), tuple(corner[1].tolist())
        if not person.seen:
            _dashed(picture, first, last, color_of(person.global_id), style)
        elif person.global_id < 0:
            cv2.rectangle(picture, first, last, GREY, 1)
        else:
            # a dark edge keeps light colours visible on a light ground
            cv2.rectangle(picture, first, last, DARK, style.line_px + 2, cv2.LINE_AA)
            cv2.rectangle(picture, first, last, color_of(person.global_id), style.line_px, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    for person, corner in reversed(list(zip(people, corners, strict=True))):  # near ones get the better places
        if person.seen and person.global_id >= 0:
            taken.append(put_label(picture, corner, f"ID {person.global_id}", color_of(person.global_id), style, taken))


def strip(width: int, style: Style, title: str, time_s: float, counts: tuple[int, int]) -> Image:
    """(strip_px, width, 3) with the camera's name, the time, people now and identities so far; shorter where narrow."""
    return _strip(width, style, printable(title), clock(time_s), counts)


@lru_cache(maxsize=128)  # what it says changes about once a second
def _strip(width: int, style: Style, name: str, now: str, counts: tuple[int, int]) -> Image:
    bar = np.full((style.strip_px, width, 3), DARK, np.uint8)
    margin = round(style.text_px * 0.6)
    people = f"{counts[0]} {'person' if counts[0] == 1 else 'people'}"
    so_far = f"{counts[1]} {'identity' if counts[1] == 1 else 'identities'} so far"
    wordings = f"{people} now, {so_far}", f"{people}, {counts[1]} IDs", f"{counts[0]}/{counts[1]}"
    for right in (*wordings, ""):
        room = width - 4 * margin - text_width(now, style) - text_width(right, style) - margin
        if room >= min(text_width(name, style), width // 4):
            break
    while name and text_width(name, style) > room:
        name = name[:-1]
    x = margin
    for text, color in ((name, WHITE), (now, (190, 190, 190))):
        put_text(bar, text, x, style.strip_px, style, color)
        x += text_width(text, style) + 2 * margin
    put_text(bar, right, width - margin - text_width(right, style), style.strip_px, style, WHITE)
    bar.setflags(write=False)
    return bar


def put_text(image: Image, text: str, left: int, strip_px: int, style: Style, color: Color) -> None:
    """Write text into the top ``strip_px`` rows of a picture, centred upright."""
    import cv2

    baseline = round(strip_px / 2 + style.text_px * 0.42)
    cv2.putText(image, text, (left, baseline), *_font(style), color, _weight(style), cv2.LINE_AA)


@lru_cache(maxsize=4096)
def text_width(text: str, style: Style) -> int:
    """Width of a text in pixels."""
    import cv2

    (width, _), _ = cv2.getTextSize(text, *_font(style), _weight(style))
    return int(width)


def printable(text: str) -> str:
    """Text in the letters that OpenCV's font has: accents dropped, others as '?'."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c if " " <= c <= "~" else "?" for c in plain if not unicodedata.combining(c))


def _font(style: Style) -> tuple[int, float]:
    import cv2

    return cv2.FONT_HERSHEY_SIMPLEX, style.text_px / 26  # its capitals are 22 px high at scale 1


def _weight(style: Style) -> int:
    return max(1, round(style.text_px / 14))


def put_label(
    picture: Image, corner: NDArray[Any], text: str, color: Color, style: Style, taken: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int]:
    """A filled tag at the box where it covers none of those drawn before; returns its left, top, right, bottom."""
    height, width = picture.shape[:2]
    tag_w, tag_h = text_width(text, style) + round(style.text_px * 0.6), round(style.text_px * 1.35)
    half = style.line_px // 2
    (x1, y1), (x2, y2) = (corner + np.array([[-half], [half]])).tolist()
    above, below = y1 - tag_h, y2
    spots = [(x1, above), (x2 - tag_w, above), (x1, above - tag_h), (x1, below), (x2 - tag_w, below)]
    areas = []
    for left, top in spots:
        left, top = min(max(left, 0), max(width - tag_w, 0)), min(max(top, 0), max(height - tag_h, 0))
        areas.append((left, top, left + tag_w, top + tag_h))
    area = next((a for a in areas if not any(_overlap(a, t) for t in taken)), areas[0])
    tag = picture[area[1] : area[3], area[0] : area[2]]
    tag[:] = color
    blue, green, red = color
    ink = (20, 20, 20) if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else WHITE
    put_text(tag, text, round(style.text_px * 0.3), tag_h, style, ink)
    return area


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_trails(picture: Image, people: Sequence[Person], scale: float, shift: FloatArray, style: Style) -> None:
    """Lines along the feet, thinner towards the past and half transparent."""
    import cv2

    height, width = picture.shape[:2]
    for person in people:
        if person.global_id < 0 or len(person.trail) < 2:
            continue
        every = max(1, len(person.trail) // 12)
        points = np.rint(person.trail[::-1][::every][::-1] * scale + shift).astype(int)
        # only the patch around the trail is mixed: the whole picture would take longer than all the rest
        margin = style.line_px + 2
        left, top = np.clip(points.min(axis=0) - margin, 0, (width, height)).tolist()
        right, bottom = np.clip(points.max(axis=0) + margin, 0, (width, height)).tolist()
        patch = picture[top:bottom, left:right]
        if patch.size == 0:
            continue
        layer, corners = patch.copy(), (points - (left, top)).tolist()
        for i, (a, b) in enumerate(pairwise(corners), 1):
            thickness = max(1, round(1.4 * style.line_px * i / len(corners)))
            cv2.line(layer, a, b, color_of(person.global_id), thickness, cv2.LINE_AA)
        cv2.addWeighted(layer, 0.6, patch, 0.4, 0, patch)


def _dashed(picture: Image, first: tuple[int, int], last: tuple[int, int], color: Color, style: Style) -> None:
    import cv2

    (x1, y1), (x2, y2) = first, last
    dash = max(4, round(style.text_px / 2))
    for x in range(x1, x2, 2 * dash):
        for y in (y1, y2):
            cv2.line(picture, (x, y), (min(x + dash, x2), y), color, 1)
    for y in range(y1, y2, 2 * dash):
        for x in (x1, x2):
            cv2.line(picture, (x, y), (x, min(y + dash, y2)), color, 1)
