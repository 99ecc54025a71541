"""When a camera's frames are taken: by its own clock, which may start late and run fast, and without those it loses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import ConfigError
from mctrack.synth.scene import CameraConfig

Array = NDArray[np.float64]

SUBFRAMES = 5
"""Moments that make up one exposure with motion blur; odd, so that the frame's own time is among them."""


@dataclass(frozen=True, eq=False)
class Shots:
    """The frames of one camera that exist.

    Attributes:
        tick: (n,) number of each frame on the camera's own clock, from 0; a lost frame leaves a gap.
        stamp_s: (n,) the time that the camera's clock shows: what stands in the video file.
        time_s: (n,) the true time.
        taken: frames before any was lost.
        plain: whether the stamps are the true times and no frame is missing.
    """

    tick: NDArray[np.int64]
    stamp_s: Array
    time_s: Array
    taken: int
    plain: bool

    def __len__(self) -> int:
        return len(self.tick)


def shots(config: CameraConfig, seconds: float, seed: int) -> Shots:
    """The moments at which a camera films a scene of that length; the same arguments give the same moments.

    The camera records at its nominal rate by its own clock. That reads 0 ``clock_offset_s`` after the scene began and
    gains ``clock_drift_ppm`` millionths: stamp = (time − offset) · (1 + drift).

    Raises:
        ConfigError: no frame is left.
    """
    pace = 1 + 1e-6 * config.clock_drift_ppm
    span = seconds - config.clock_offset_s
    if span <= 0:
        raise ConfigError(f"camera {config.name}: clock_offset_s: {config.clock_offset_s:g} is not below the scene's "
                          f"{seconds:g} seconds")  # fmt: skip
    tick = np.arange(max(round(span * config.fps * pace), 1))
    stamp_s = tick / config.fps
    time_s = config.clock_offset_s + stamp_s / pace
    kept = np.ones(len(tick), bool)
    if config.dropouts > 0:
        # A generator of its own: pictures' noise must not depend on what is lost.
        kept &= np.random.default_rng([seed, 1]).uniform(size=len(tick)) >= config.dropouts
    for start_s, length_s in config.outages:
        kept &= (time_s < start_s) | (time_s >= start_s + length_s)
    if not kept.any():
        raise ConfigError(f"camera {config.name}: dropouts and outages leave no frame of {seconds:g} seconds")
    plain = bool(kept.all()) and config.clock_offset_s == 0 and config.clock_drift_ppm == 0
    return Shots(tick[kept], stamp_s[kept], time_s[kept], len(tick), plain)


def exposure_times(config: CameraConfig, time_s: float) -> list[float]:
    """Moments within one frame's exposure besides its own time; none without motion blur."""
    if config.motion_blur == 0:
        return []
    shares = (np.arange(SUBFRAMES) + 0.5) / SUBFRAMES - 0.5
    return [max(time_s + float(s) * config.motion_blur / config.fps, 0.0) for s in shares if s != 0]
