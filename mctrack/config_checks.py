"""What the numbers of a run's configuration may be, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from mctrack.errors import ConfigError, suggest

if TYPE_CHECKING:
    from mctrack.config import RunConfig


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both finite: so NaN and infinity are never inside.

    Attributes:
        above, below: ``low``, or ``high``, is itself outside.
        whole: whole numbers only.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    whole: bool = False

    def __contains__(self, value: float) -> bool:
        inside = self.low <= value <= self.high
        at_open_end = (self.above and value == self.low) or (self.below and value == self.high)
        return inside and not at_open_end and not (self.whole and value != int(value))

    def __str__(self) -> str:
        low, high, kind = f"{self.low:.12g}", f"{self.high:.12g}", "a whole number" if self.whole else "a number"
        if not self.above:
            return f"{kind} from {low} to {high}"
        return f"{kind} above {low}" + (f" and below {high}" if self.below else f", at most {high}")


SHARE = Range(0, 1)
ODDS = Range(0, 1, above=True, below=True)
"""A probability that is turned into log-odds."""
SECONDS = Range(0, 1e9)
AMOUNT = Range(0, 1e6)
COUNT = Range(1, 1_000_000, whole=True)
FEW = Range(1, 10_000, whole=True)
NOISE = Range(0, 1000)
DIVISOR = Range(1e-6, 1000)
"""Noise that is divided by."""

RANGES = {
    "video.start": Range(0, 1e12, whole=True),
    "video.max_frames": Range(1, 1e12, whole=True),
    "video.offset_s.*": Range(-1e10, 1e10),  # a clock since 1970 is fine
    "video.match_tolerance_s": AMOUNT,
    "video.queue": FEW,
    "video.timeout_s": Range(0, 1e6, above=True),
    "video.reconnects": Range(-1, 1e9, whole=True),
    "video.folder_fps": Range(0, 1000, above=True),
    "detect.score": SHARE,
    "detect.nms_iou": SHARE,
    "detect.input_size": Range(16, 4096, whole=True),
    "detect.max_detections": COUNT,
    "detect.min_height_px": AMOUNT,
    "reid.min_height_px": AMOUNT,
    "reid.min_score": SHARE,
    "track.options.*": Range(-1e9, 1e9),  # the method knows more
    "track.noise.position": NOISE,
    "track.noise.accel": NOISE,
    "track.noise.size": NOISE,
    "track.noise.size_accel": NOISE,
    "track.noise.measure": DIVISOR,
    "track.noise.measure_size": DIVISOR,
    "track.noise.score_scale": NOISE,
    "track.noise.tau_s": DIVISOR,  # far above, rounding times its square is more than the noise
    "track.noise.tau_size_s": DIVISOR,
    "track.noise.speed": NOISE,
    "track.high_score": SHARE,
    "track.low_score": SHARE,
    "track.new_score": SHARE,
    "track.crowd_sigma": AMOUNT,
    "track.n_init": Range(1, 1000, whole=True),
    "track.max_age_s": SECONDS,
    "track.buffer": AMOUNT,
    "track.buffer_growth": AMOUNT,
    "track.gate": Range(0, 1e9, above=True),
    "track.max_cost": Range(0, 1e6, above=True),
    "track.weight_overlap": AMOUNT,
    "track.weight_motion": AMOUNT,
    "track.weight_score": AMOUNT,
    "track.weight_appearance": AMOUNT,
    "track.tentative_cost": AMOUNT,
    "track.low_iou": SHARE,
    "track.low_gap_s": SECONDS,
    "track.low_s": SECONDS,
    "track.duplicate_iou": AMOUNT,  # above 1: never
    "track.rebirth_s": SECONDS,
    "track.rebirth_probability": SHARE,
    "track.rebirth_margin": Range(0, 2),
    "track.rebirth_speed": AMOUNT,
    "track.max_tracks": COUNT,
    "track.max_dormant": Range(0, 1_000_000, whole=True),
    "associate.link_probability": ODDS,
    "associate.new_probability": SHARE,
    "associate.margin": Range(-100, 100),
    "associate.samples": FEW,
    "associate.name_s": SECONDS,
    "associate.wait_s": SECONDS,
    "associate.sample_s": SECONDS,
    "associate.min_quality": SHARE,
    "associate.prototypes": FEW,
    "associate.merge_probability": ODDS,
    "associate.merge_margin": Range(-100, 100),
    "associate.merge_s": SECONDS,
    "associate.hindsight_s": SECONDS,
    "associate.max_identities": COUNT,
    "associate.transitions.*": Range(-1e9, 1e9),
    "output.video_height_px": Range(16, 4320, whole=True),
    "output.fill_gap_s": AMOUNT,
    "output.commit_s": Range(0, 1e6, above=True),
    "output.checkpoint_s": SECONDS,
}
"""Key → what it may be; ``*``: every name in a mapping. Wide: what cannot be meant, or comes to nothing, is outside."""


def check_numbers(config: RunConfig) -> None:
    """Refuse numbers that cannot be meant.

    Raises:
        ConfigError: naming the first such key, its value and what is expected.
    """
    check_section(config, "")
    track = config.track
    if not track.weight_overlap + track.weight_motion + track.weight_score:
        raise ConfigError("track.weight_overlap, weight_motion and weight_score are all 0; expected one above 0")


def check_number(key: str, value: float, allowed: Range | None = None) -> None:
    """Refuse a number outside of its range, by default the one in :data:`RANGES`."""
    allowed = allowed or RANGES[key]
    if value not in allowed:
        raise ConfigError(f"{key} is {value}; expected {allowed}")


def check_mapping(key: str, values: Mapping[str, Any]) -> None:
    """Refuse unknown names in a mapping such as ``track.noise``, and numbers outside of their range."""
    known = [k.removeprefix(f"{key}.") for k in RANGES if k.startswith(f"{key}.")]
    for name, value in values.items():
        if known != ["*"] and name not in known:
            raise ConfigError(f"{key}: unknown key '{name}'{suggest(name, known)}; known: {', '.join(known)}")
        allowed = RANGES[f"{key}.{'*' if known == ['*'] else name}"]
        for number in value if isinstance(value, list | tuple) else [value]:
            check_number(f"{key}.{name}", number, allowed)


def check_section(section: Any, prefix: str) -> None:
    """Refuse numbers out of range in one dataclass of the configuration, whose keys begin with ``prefix``."""
    for f in fields(section):
        key, value = prefix + f.name, getattr(section, f.name)
        if is_dataclass(value):
            check_section(value, f"{key}.")
        elif key in RANGES and value is not None:
            check_number(key, value)
        elif isinstance(value, Mapping) and any(k.startswith(f"{key}.") for k in RANGES):
            check_mapping(key, value)
