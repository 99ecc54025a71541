"""A camera at work: people drawn into the empty room, their truth read off the depth buffer, the camera's own look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.synth import backdrop, daylight
from mctrack.synth.backdrop import Backdrop
from mctrack.synth.camera import Camera, look_at
from mctrack.synth.figure import SAMPLES, Actor, Drawn, Light, draw, shade
from mctrack.synth.gait import Pose
from mctrack.synth.layout import lamps, solids
from mctrack.synth.scene import Area, CameraConfig
from mctrack.synth.shadows import FloorShadows
from mctrack.synth.shapes import bgr

Array = NDArray[np.float64]
FloatImage = NDArray[np.float32]
Visible = tuple[NDArray[np.int64], NDArray[np.int64]]
Layer = tuple[int, int, FloatImage]
"""Left and top in pixels, and (h, w, 4) light of people times their coverage, and coverage 0…1."""


@dataclass(frozen=True)
class Seen:
    """The truth about one person in one picture.

    Attributes:
        xyxy: box in pixels around the whole body, parts hidden by others or by furniture included, cut at the
            picture's edges; full_xyxy: the same before cutting.
        visibility: share of the body's samples that are in the picture and not hidden, 0…1.
    """

    person: int
    xyxy: tuple[float, float, float, float]
    full_xyxy: tuple[float, float, float, float]
    visibility: float


class View:
    """One camera of a scene. Pictures and truth depend on nothing but the arguments and the seed."""

    def __init__(self, config: CameraConfig, area: Area, seed: int) -> None:
        origin = np.array([*area.origin, 0.0])
        self.config, self.area = config, area
        self.camera: Camera = look_at(
            config.name,
            origin + config.position,
            origin + config.look_at,
            config.size,
            config.hfov_deg,
            config.fps,
            tuple(config.dist),
            config.roll_deg,
        )
        self.backdrop: Backdrop = backdrop.build(self.camera, area)
        self._shadows = FloorShadows(area, self.backdrop)
        self._day = daylight.Daylight(area, solids(area)) if area.outdoor else None
        self._chest = None if self._day is None else self._day.chest_map()
        self._noise = np.random.default_rng(seed)
        self._bank = self._noise.normal(0, config.noise, (config.size[1] + 64, config.size[0] + 64, 3)).astype(
            np.float32
        )
        y, x = np.mgrid[-1 : 1 : config.size[1] * 1j, -1 : 1 : config.size[0] * 1j]
        self._vignette = (1 - config.vignette * (x * x + y * y)).astype(np.float32)[..., None] * config.exposure
        # A generator of its own: the noise stays the same with and without.
        self._breath = float(np.random.default_rng([seed, 2]).uniform(0, 2 * np.pi))

    def picture(
        self,
        figures: Sequence[Actor],
        poses: dict[int, Pose],
        render: bool = True,
        time_s: float = 0.0,
        others: Sequence[dict[int, Pose]] = (),
    ) -> tuple[NDArray[np.uint8] | None, list[Seen]]:
        """Draw the people (index → pose) and measure them; ``time_s`` matters where the light or exposure changes.

        With motion blur, ``others`` are the poses at the exposure's other moments: light of all is averaged, shadows
        and the truth are of ``poses`` alone.

        Returns:
            (h, w, 3) uint8 BGR (None unless ``render``) and the truth of everyone of whom something is in view.
        """
        drawn, visible = self._seen(figures, poses)
        seen = [self._truth(k, drawn[k], len(v[0])) for k, v in visible.items() if len(v[0]) > 0]
        if not render:
            return None, seen
        share = daylight.strength(self.area, time_s) if self.area.light_swing > 0 else 1.0
        contact, thrown = self._shadows.factors([figures[k].skeleton(p) for k, p in poses.items()])
        if self.backdrop.sun is None:
            colour = self.backdrop.colour * thrown
            if share != 1.0:
                colour *= np.float32(share)
        else:
            sky = contact * np.float32(daylight.overcast(share))
            colour = self.backdrop.colour * sky + self.backdrop.sun * (thrown * np.float32(share))
        layers = [self._layer(drawn, visible, poses, share)]
        layers += [self._layer(*self._seen(figures, p), p, share) for p in others]
        _composite(colour, layers)
        return self._develop(colour, time_s), seen

    def _seen(self, figures: Sequence[Actor], poses: dict[int, Pose]) -> tuple[dict[int, Drawn], dict[int, Visible]]:
        """Everyone drawn, and which of their samples are visible."""
        drawn = {k: d for k, pose in poses.items() if (d := draw(self.camera, figures[k], pose)) is not None}
        return drawn, self._resolve(drawn)

    def _lit(self, pose: Pose, share: float) -> Light:
        """Light on someone when that share of the changing light is there."""
        if self._day is None or self._chest is None:
            light = _light(self.area, np.array([pose.x_m, pose.y_m, 1.1]))
            return light if share == 1.0 else Light(light.direction, light.key * share, light.ambient * share)
        lit = daylight.at(*self._chest, pose.x_m, pose.y_m)
        return Light(self._day.sun, self._day.key(lit * share), self._day.ambient * daylight.overcast(share))

    def _resolve(self, drawn: dict[int, Drawn]) -> dict[int, Visible]:
        """Per person the samples where nothing is nearer: their flat index in the grid, and the fragment there."""
        height, width = self.backdrop.inverse_depth.shape
        depth = self.backdrop.inverse_depth.copy().reshape(-1)
        candidates: dict[int, Visible] = {}
        for k, d in drawn.items():
            inside = np.flatnonzero((d.column >= 0) & (d.column < width) & (d.row >= 0) & (d.row < height))
            sample = d.row[inside] * width + d.column[inside]
            nearer = d.fragments.inverse_depth[inside] > depth[sample]
            sample, inside = sample[nearer], inside[nearer]
            depth[sample] = d.fragments.inverse_depth[inside]
            candidates[k] = sample, inside
        # Those drawn later may have covered some: what is still the nearest is visible.
        for k, (sample, inside) in candidates.items():
            left = depth[sample] == drawn[k].fragments.inverse_depth[inside]
            candidates[k] = sample[left], inside[left]
        return candidates

    def _truth(self, person: int, d: Drawn, visible: int) -> Seen:
        width, height = self.camera.size
        x0, y0, x1, y1 = (float(v) for v in d.xyxy)
        cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
        return Seen(person, cut, (x0, y0, x1, y1), visible / len(d.column))

    def _layer(
        self, drawn: dict[int, Drawn], visible: dict[int, Visible], poses: dict[int, Pose], share: float
    ) -> Layer | None:
        """The visible samples of everyone at one moment as a picture; None where there are none."""
        width = self.camera.size[0] * SAMPLES
        flat = [v[0] for v in visible.values() if len(v[0])]
        if not flat:
            return None
        rows, columns = np.divmod(np.concatenate(flat), width)
        y0, x0 = int(rows.min()) // SAMPLES, int(columns.min()) // SAMPLES
        y1, x1 = int(rows.max()) // SAMPLES + 1, int(columns.max()) // SAMPLES + 1
        fine = np.zeros(((y1 - y0) * SAMPLES, (x1 - x0) * SAMPLES, 4), np.float32)
        for k, (sample, fragment) in visible.items():
            row, column = np.divmod(sample, width)
            row, column = row - y0 * SAMPLES, column - x0 * SAMPLES
            fine[row, column, :3] = shade(drawn[k], fragment, self._lit(poses[k], share))
            fine[row, column, 3] = 1
        return x0, y0, np.asarray(cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA), np.float32)

    def exposure(self, time_s: float) -> float:
        """Factor by which automatic exposure is off at a moment; 1 in the middle."""
        turn = 2 * np.pi * time_s / self.config.exposure_period_s + self._breath
        wave = 0.7 * np.sin(turn) + 0.3 * np.sin(2.7 * turn + 0.8)
        return float(1 + self.config.exposure_swing * wave)

    def _develop(self, colour: FloatImage, time_s: float) -> NDArray[np.uint8]:
        """White balance, exposure, vignetting, gamma, blur and noise."""
        c = self.config
        out = colour * (self._vignette * bgr(c.gain).astype(np.float32))
        if c.exposure_swing > 0:
            out *= np.float32(self.exposure(time_s))
        np.clip(out, 0, 1, out=out)
        if c.gamma != 1.0:
            out = np.asarray(cv2.pow(out, 1 / c.gamma), np.float32)
        if c.blur_px > 0:
            out = np.asarray(cv2.GaussianBlur(out, (0, 0), c.blur_px), np.float32)
        out *= 255
        i, j = (int(v) for v in self._noise.integers(0, 64, 2))
        out += self._bank[i : i + out.shape[0], j : j + out.shape[1]]
        return np.clip(out + 0.5, 0, 255).astype(np.uint8)


def _composite(colour: FloatImage, layers: Sequence[Layer | None]) -> None:
    """Lay the mean of some moments' people over the room, in place."""
    there = [layer for layer in layers if layer is not None]
    if not there:
        return
    x0, y0, people = there[0]
    if len(layers) > 1:
        # The room stands still, so the mean of the finished pictures is that of coverage and light.
        x0, y0, people = 0, 0, np.zeros((*colour.shape[:2], 4), np.float32)
        for x, y, part in there:
            people[y : y + part.shape[0], x : x + part.shape[1]] += part / np.float32(len(layers))
    room = colour[y0 : y0 + people.shape[0], x0 : x0 + people.shape[1]]
    room *= 1 - people[..., 3:]
    room += people[..., :3]


def _light(area: Area, position: Array) -> Light:
    """Light on someone at (3,) ``position``: from the lamps, weaker with distance, and little in the corridors."""
    low, size = np.array(area.origin), np.array(area.size)
    outside = float(np.linalg.norm(np.maximum(np.maximum(low - position[:2], position[:2] - low - size), 0)))
    away = lamps(area) - position
    distance2 = (away * away).sum(axis=1)
    strength = 1 / (1.6 + distance2 / 3)
    direction = (away / np.sqrt(distance2)[:, None] * strength[:, None]).sum(axis=0) / strength.sum()
    # Four lamps around somebody leave no side in the dark; a little from one side keeps bodies round.
    direction = direction + np.array([0.30, -0.22, 0.0])
    tint = bgr(area.light_colour) * area.brightness * (1 - 0.5 * min(outside / 0.9, 1.0))
    return Light(direction / np.linalg.norm(direction), (0.18 + 0.38 * strength.sum()) * tint, 0.60 * tint)
