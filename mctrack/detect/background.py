"""One camera's picture of its empty scene: what differs from it is foreground.

A single Gaussian per pixel on luma and chroma (Wren et al., "Pfinder", PAMI 1997) with its own noise, updated only
where nothing stands; brightness changes of the whole picture are divided out first; shadows are told apart by
darker luma at equal chroma (Horprasert et al., ICCV FRAME-RATE 1999). A second layer remembers what a foreground
pixel has looked like and for how long: so a scene that was never empty at the start, a moved chair and a parked car
become background in the end, without a list of frames kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mctrack.types import Image, State

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]

_PLANES = ("mean", "variance", "candidate", "stable_s", "idle_s", "busy", "last_luma")


def as_mask(array: Any) -> Mask:
    """An array of OpenCV (whose types say nothing) as a mask; not copied."""
    return np.asarray(array, np.uint8)


BOOT_S = 4.0
"""So long the scene is learned quickly at the start."""
SHOCK = 0.55
"""A change of more of the picture than this at once is the light or the camera, not people."""
_LEARN_S = 12.0
_CANDIDATE_EVERY_S = 0.2
WEAK, STRONG = 3.0, 5.5
"""Thresholds in standard deviations."""
_FLOOR = np.float32(4.0)  # variance that coding noise has at least
_SHADOW = (0.72, 0.97)  # share of the light that is left in a shadow


@dataclass(frozen=True, eq=False)
class Foreground:
    """What differs from the background in one picture.

    Attributes:
        weak: (h, w) 0/1, generous.
        strong: (h, w) 0/1, beyond doubt; a subset of ``weak``.
        shade: (h, w) 0/1 differs as well, but as a shadow would: darker, of the same colour.
        contrast: (h, w) float32 distance from the background in standard deviations.
        luma: (h, w) float32 brightness of the picture.
        moving: (h, w) 0/1 changed since the last picture.
        shock: the whole picture changed; the masks are empty.
    """

    weak: Mask
    strong: Mask
    shade: Mask
    contrast: Plane
    luma: Plane
    moving: Mask
    shock: bool


class Background:
    """The background of pictures of one size (h, w)."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.age_s = 0.0
        self.frames = 0
        self._since_candidate_s = 0.0
        self._mean = np.zeros((*shape, 3), np.float32)
        self._variance = np.zeros((*shape, 2), np.float32)  # luma, chroma
        self._candidate = np.zeros((*shape, 3), np.float32)
        self._stable_s = np.zeros(shape, np.float32)
        self._idle_s = np.zeros(shape, np.float32)
        self._busy = np.zeros(shape, np.uint8)
        self._last_luma = np.zeros(shape, np.float32)
        self._pixels = self._mean

    @property
    def booting(self) -> bool:
        """Whether the scene is still being learned quickly."""
        return self.age_s < BOOT_S

    @property
    def luma(self) -> Plane:
        """(h, w) brightness of the empty scene."""
        return self._mean[..., 0]

    def compare(self, bgr: Image, dt_s: float) -> Foreground:
        """Tell foreground from background; :meth:`learn` is to follow.

        Args:
            bgr: (h, w, 3) picture of this background's size.
            dt_s: seconds since the last picture.
        """
        pixels = cv2.cvtColor(cv2.GaussianBlur(bgr, (3, 3), 0), cv2.COLOR_BGR2YCrCb).astype(np.float32)
        if self.frames == 0:
            self._start(pixels)
        self.frames += 1
        self.age_s += dt_s
        luma = np.ascontiguousarray(pixels[..., 0])
        self._pixels = pixels
        moving = (cv2.absdiff(luma, self._last_luma) > 8).astype(np.uint8)
        self._last_luma = luma
        self._follow_light(pixels)
        distance, shadow = self._distance(pixels)
        changed = distance > WEAK**2
        weak = (changed & ~shadow).astype(np.uint8)
        strong = ((distance > STRONG**2) & ~shadow).astype(np.uint8)
        shade = (changed & shadow).astype(np.uint8)
        shock = bool(strong.mean() > SHOCK)
        if shock:
            self._start(pixels)
            weak[:], strong[:], shade[:] = 0, 0, 0
        return Foreground(weak, strong, shade, np.sqrt(distance), luma, moving, shock)

    def _distance(self, pixels: Plane) -> tuple[Plane, NDArray[np.bool_]]:
        """(h, w) squared distance in standard deviations, and where it looks like a shadow."""
        y, cr, cb = cv2.split(pixels)
        mean_y, mean_cr, mean_cb = cv2.split(self._mean)
        expected = np.maximum(mean_y, 1)
        d_luma = (y - expected) ** 2 / (self._variance[..., 0] + _FLOOR)
        # chroma fades with the light: compare with what the background would show at this brightness
        ratio = np.clip(y / expected, 0.3, 1.5)
        d_cr = cr - 128 - ratio * (mean_cr - 128)
        d_cb = cb - 128 - ratio * (mean_cb - 128)
        d_chroma = (d_cr * d_cr + d_cb * d_cb) / (self._variance[..., 1] + _FLOOR)
        shadow = (ratio > _SHADOW[0]) & (ratio < _SHADOW[1]) & (d_chroma < 4)
        return np.maximum(d_luma, d_chroma), shadow

    def _follow_light(self, pixels: Plane) -> None:
        """Bring the whole background to the picture's light, by medians over pixels where nothing stands.

        Also where something stands: learning would leave those places behind in the old light, and they would stay
        foreground for good.
        """
        part = (slice(2, None, 5), slice(2, None, 5))
        free = (self._busy[part] == 0) & (self._mean[part][..., 0] > 20)
        if free.sum() < 50:
            return
        now, then = pixels[part][free], self._mean[part][free]
        gain = np.float32(np.clip(np.median(now[:, 0] / then[:, 0]), 0.4, 2.5))
        # chroma fades with the light, so the shift is what is left beyond that
        shift = np.median(now[:, 1:] - 128 - gain * (then[:, 1:] - 128), axis=0)
        if abs(gain - 1) > 0.02 or np.abs(shift).max() > 1:
            offset = np.array([0, *(128 * (1 - gain) + shift)], np.float32)
            self._mean = self._mean * gain + offset

    def _start(self, pixels: Plane) -> None:
        """Take one picture for the scene."""
        self._mean = pixels.copy()
        self._variance[:] = 16
        self._candidate = pixels.copy()
        self._stable_s = np.zeros(self.shape, np.float32)
        self._idle_s = np.zeros(self.shape, np.float32)
        self._busy[:] = 0
        self._last_luma = np.ascontiguousarray(pixels[..., 0])
        self.age_s = 0.0

    def learn(self, busy: Mask, people: Mask, hold_s: tuple[float, float], dt_s: float) -> bool:
        """Follow slow changes of the scene where nothing stands, and take in what has stood for long enough.

        Args:
            busy: (h, w) 0/1 where something stands: the scene is not updated there.
            people: (h, w) 0/1 where that looks like a person.
            hold_s: seconds after which what has not changed counts as scene after all: people, anything else.
            dt_s: seconds since the last picture.

        Returns:
            Whether :meth:`still` has news; it is brought up to date a few times a second.
        """
        pixels = self._pixels
        self._busy = busy
        free = 1 - busy
        rate = 1 - float(np.exp(-dt_s / (_LEARN_S / 6 if self.booting else _LEARN_S)))
        error = (pixels - self._mean) ** 2
        spread = np.empty_like(self._variance)
        spread[..., 0], spread[..., 1] = error[..., 0], error[..., 1] + error[..., 2]
        # one wild pixel must not open the gate for good
        np.minimum(spread, 400, out=spread)
        cv2.accumulateWeighted(pixels, self._mean, rate, mask=free)
        cv2.accumulateWeighted(spread, self._variance, rate / 2, mask=free)
        self._since_candidate_s += dt_s
        if self._since_candidate_s < _CANDIDATE_EVERY_S:
            return False
        self._age_candidate(pixels, people, hold_s, self._since_candidate_s)
        self._since_candidate_s = 0.0
        return True

    def still(self, seconds: float) -> NDArray[np.bool_]:
        """(h, w) where the picture has not changed for so long."""
        return self._stable_s >= seconds

    def _age_candidate(self, pixels: Plane, people: Mask, hold_s: tuple[float, float], dt_s: float) -> None:
        error = cv2.absdiff(pixels, self._candidate)
        same = (error[..., 0] < 10) & (error[..., 1] + error[..., 2] < 12)
        self._stable_s = np.where(same, self._stable_s + np.float32(dt_s), np.float32(0))
        # a clock of its own: a single picture in which somebody does not look like a person must not cost minutes
        idle = self._idle_s + np.where(people > 0, np.float32(0), np.float32(dt_s))
        self._idle_s = np.where(same & (self._busy > 0), idle, np.float32(0))
        np.copyto(self._candidate, pixels, where=~same[..., None])
        cv2.accumulateWeighted(pixels, self._candidate, 0.2, mask=same.astype(np.uint8))
        old = (self._stable_s >= hold_s[0]) | (self._idle_s >= hold_s[1])
        self.absorb(old & (self._busy > 0), self._candidate)

    def absorb(self, where: NDArray[np.bool_], pixels: Plane | None = None) -> None:
        """Make the picture's pixels part of the scene at once, where the (h, w) mask says."""
        if not where.any():
            return
        np.copyto(self._mean, self._pixels if pixels is None else pixels, where=where[..., None])
        np.copyto(self._variance, np.float32(16), where=where[..., None])

    def state(self) -> State:
        """Everything that the next pictures depend on."""
        numbers = {"age_s": self.age_s, "frames": self.frames, "since_candidate_s": self._since_candidate_s}
        return numbers | {name: getattr(self, f"_{name}").copy() for name in _PLANES}

    @staticmethod
    def restored(state: State) -> Background:
        """A background that goes on from a saved state."""
        self = Background(state["busy"].shape)
        self.age_s, self.frames = float(state["age_s"]), int(state["frames"])
        self._since_candidate_s = float(state["since_candidate_s"])
        for name in _PLANES:
            setattr(self, f"_{name}", np.array(state[name], getattr(self, f"_{name}").dtype))
        return self
