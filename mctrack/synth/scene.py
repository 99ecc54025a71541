"""What a world is made of, read strictly from YAML: areas with doors and furniture, cameras, habits of its people."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mctrack.errors import ConfigError, suggest
from mctrack.strict_yaml import load_yaml

Triple = tuple[float, float, float]
FURNITURE = ("table", "chair", "sofa", "bench", "counter", "shelf", "pillar", "plant", "box", "sign", "tree", "lamp")
SEATS = ("chair", "bench", "sofa")
WALLS = ("south", "east", "north", "west")


@dataclass(frozen=True)
class Door:
    """An opening in a wall. Behind it a corridor runs along the wall; people vanish at its end.

    Attributes:
        wall: south, east, north or west; at_m: centre of the opening along the wall.
        turn: which way along the wall people walk away, +1 or −1.
        to: the door it leads to, ``area.door``; None leads outside (and back in by any outside door).
    """

    name: str
    wall: str
    at_m: float
    width_m: float = 1.2
    height_m: float = 2.15
    turn: int = 1
    to: str | None = None


@dataclass(frozen=True)
class Item:
    """A piece of furniture: ``at`` is its centre on the floor, ``size`` its extent (x, y, z), metres in the area.

    ``facing``: the wall that people on a chair or sofa look at, south unless told; benches have two sides.
    """

    kind: str
    at: tuple[float, float]
    size: Triple
    colour: Triple = (0.55, 0.42, 0.30)
    facing: str | None = None


@dataclass(frozen=True)
class WallItem:
    """Something flat on a wall: poster, window or board, by its centre along the wall and its height."""

    kind: str
    wall: str
    at_m: float
    z_m: float
    size: tuple[float, float]
    colour: Triple = (0.7, 0.3, 0.25)


@dataclass(frozen=True)
class Area:
    """A rectangular room; ``origin`` is its south-west corner in the world. Colours are red, green, blue in 0…1.

    Attributes:
        lamps: rows of ceiling lights along x and y.
        outdoor: a street or square: sky, houses of about ``height_m`` for walls, lanes behind the doors, sunlight.
        sun: azimuth (degrees counter-clockwise from east) and elevation (degrees) of the sun, outdoors.
        light_swing: how much of the light (of the sun, outdoors) goes away and comes back, 0…1; light_period_s:
            about how often.
    """

    name: str
    origin: tuple[float, float]
    size: tuple[float, float]
    height_m: float = 3.1
    floor: str = "tiles"
    floor_colour: Triple = (0.62, 0.60, 0.57)
    wall_colour: Triple = (0.78, 0.77, 0.73)
    accent_wall: str | None = None
    accent_colour: Triple = (0.45, 0.55, 0.60)
    light_colour: Triple = (1.0, 0.98, 0.94)
    brightness: float = 1.0
    doors: list[Door] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    wall_items: list[WallItem] = field(default_factory=list)
    max_people: int = 6
    lamps: tuple[int, int] = (2, 2)
    outdoor: bool = False
    sun: tuple[float, float] = (235.0, 42.0)
    light_swing: float = 0.0
    light_period_s: float = 40.0


@dataclass(frozen=True)
class CameraConfig:
    """A camera in an area; positions are relative to the area's origin.

    Attributes:
        gain: white balance of red, green, blue; noise: standard deviation in grey levels; blur_px: optics.
        vignette: how much darker than the middle the edges' centres are, 0…0.5 (corners: twice that).
        exposure_swing: how far exposure goes up and down by itself (automatic exposure), a share 0…0.9;
            exposure_period_s: about how often.
        motion_blur: exposure time as a share 0…1 of the frame interval; people are drawn several times a frame.
        crf: H.264 quality, lower is better; None: what the command says.
        clock_offset_s: when the camera's clock reads 0 and its clip begins, seconds after the scene did;
            clock_drift_ppm: by how many millionths that clock, and with it the time stamps, runs fast.
        dropouts: share 0…0.9 of frames that are lost at random; outages: (start, length) in seconds of the scene
            without any frame. Lost frames are not in the clip; time stamps jump.
    """

    name: str
    area: str
    position: Triple
    look_at: Triple
    hfov_deg: float = 75.0
    size: tuple[int, int] = (640, 360)
    fps: float = 15.0
    dist: list[float] = field(default_factory=list)
    roll_deg: float = 0.0
    gain: Triple = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    gamma: float = 1.0
    noise: float = 1.5
    blur_px: float = 0.45
    vignette: float = 0.10
    exposure_swing: float = 0.0
    exposure_period_s: float = 12.0
    motion_blur: float = 0.0
    crf: int | None = None
    clock_offset_s: float = 0.0
    clock_drift_ppm: float = 0.0
    dropouts: float = 0.0
    outages: list[tuple[float, float]] = field(default_factory=list)


CAMERA_RANGES = {
    "exposure": (0.01, 100.0), "gamma": (0.1, 10.0), "noise": (0.0, 255.0), "blur_px": (0.0, 50.0),
    "vignette": (0.0, 0.5), "exposure_swing": (0.0, 0.9), "exposure_period_s": (0.1, 1e5), "motion_blur": (0.0, 1.0),
    "crf": (0, 51), "clock_offset_s": (0.0, 7200.0), "clock_drift_ppm": (-20000.0, 20000.0), "dropouts": (0.0, 0.9),
}  # fmt: skip
"""Camera key → least and largest value."""


@dataclass(frozen=True)
class Habits:
    """How people spend their time; ranges in seconds.

    Attributes:
        inside_at_start: share of people who are inside when the clip begins; arrive_s: when the others come.
        stops: number of places visited per stay; stop_s: how long they stand there.
        outside_s: out of sight before coming back in; change_s: on the way between two linked doors.
        behind_mps: pace out of sight: nobody comes in by a door sooner than they could have walked straight to it from
            the one they left by. 0: any door is near.
        change_area: probability of leaving by a linked door rather than going outside.
        groups: share of people who are out in pairs: same ways, same stops, same pace.
        sit: share of stops spent on a chair, bench or sofa, where one is free; sit_s: for how long.
    """

    inside_at_start: float = 0.5
    arrive_s: tuple[float, float] = (0.5, 18.0)
    stops: tuple[int, int] = (1, 2)
    stop_s: tuple[float, float] = (1.0, 4.0)
    outside_s: tuple[float, float] = (1.5, 9.0)
    change_s: tuple[float, float] = (1.5, 3.0)
    behind_mps: float = 0.0
    change_area: float = 0.55
    groups: float = 0.0
    sit: float = 0.0
    sit_s: tuple[float, float] = (4.0, 12.0)


@dataclass(frozen=True)
class SceneConfig:
    """A world: its areas, cameras and habits."""

    areas: list[Area]
    cameras: list[CameraConfig]
    habits: Habits = field(default_factory=Habits)
    look_alikes: int = 1
    people: int = 9
    seconds: float = 50.0


T = TypeVar("T")


def load_scene(name_or_file: str) -> SceneConfig:
    """Read a preset of ``configs/synth`` or a YAML file.

    Raises:
        ConfigError: no such preset, not YAML, or a key or value that does not fit; the message names it.
    """
    import yaml

    from mctrack.resources import preset

    path = Path(name_or_file)
    if not (path.suffix in (".yaml", ".yml") or path.is_file()):
        path = preset("synth", name_or_file)
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"scene {path} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"scene {path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from error
    scene = _build(SceneConfig, tree, f"scene {path.name}", "")
    _check(scene, f"scene {path.name}")
    return scene


def _build(cls: type[T], tree: Any, origin: str, at: str) -> T:
    """A dataclass from nested dicts, lists and numbers; every key and type is checked."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{origin}: {at or 'the file'}: expected 'key: value' lines, found {type(tree).__name__}")
    known = {f.name: f for f in fields(cast(Any, cls))}
    hints = get_type_hints(cls)
    for key in tree:
        if key not in known:
            raise ConfigError(f"{origin}: unknown key '{_join(at, key)}'{suggest(str(key), known)}")
    for name, f in known.items():
        if name not in tree and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{origin}: '{_join(at, name)}' is missing")
    return cls(**{str(k): _value(hints[k], v, origin, _join(at, k)) for k, v in tree.items()})


def _join(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _value(hint: Any, value: Any, origin: str, at: str) -> Any:
    """The value as the type asks for it."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return None if value is None else _value(next(a for a in arguments if a is not type(None)), value, origin, at)
    if kind is list:
        if not isinstance(value, list):
            raise ConfigError(f"{origin}: '{at}' must be a list")
        return [_value(arguments[0], v, origin, f"{at}[{k}]") for k, v in enumerate(value)]
    if kind is tuple:
        if not isinstance(value, list) or len(value) != len(arguments):
            raise ConfigError(f"{origin}: '{at}' must be a list of {len(arguments)} numbers")
        return tuple(_value(a, v, origin, f"{at}[{k}]") for k, (a, v) in enumerate(zip(arguments, value, strict=True)))
    if is_dataclass(hint):
        return _build(cast(Any, hint), value, origin, at)
    wanted = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{origin}: '{at}' must be a {hint.__name__}, found {value!r}")
    return float(value) if hint is float else value


def _check(scene: SceneConfig, origin: str) -> None:
    """References between the parts."""
    areas = {a.name: a for a in scene.areas}
    doors = {f"{a.name}.{d.name}" for a in scene.areas for d in a.doors}
    if len(areas) < len(scene.areas) or len({c.name for c in scene.cameras}) < len(scene.cameras):
        raise ConfigError(f"{origin}: two areas or two cameras have the same name")
    for camera in scene.cameras:
        _known(camera.area, areas, origin, f"camera {camera.name}: area")
        if camera.fps <= 0 or min(camera.size) < 16 or not 10 <= camera.hfov_deg <= 150:
            raise ConfigError(
                f"{origin}: camera {camera.name}: fps above 0, size of 16 px or more and hfov_deg in "
                "10 to 150 are needed"
            )
        if camera.size[0] % 2 or camera.size[1] % 2:
            raise ConfigError(f"{origin}: camera {camera.name}: width and height must be even (H.264)")
        _check_ranges(camera, origin)
    for area in scene.areas:
        if not area.doors:
            raise ConfigError(f"{origin}: area {area.name} needs a door")
        for door in area.doors:
            _known(door.wall, WALLS, origin, f"door {area.name}.{door.name}: wall")
            if door.to is not None:
                _known(door.to, doors, origin, f"door {area.name}.{door.name}: to")
        if min(area.lamps) < 1 or not 0 <= area.light_swing <= 1 or area.light_period_s <= 0:
            raise ConfigError(
                f"{origin}: area {area.name}: lamps of 1 or more, light_swing in 0 to 1 and light_period_s above 0 "
                "are needed"
            )
        if area.outdoor and not 5 <= area.sun[1] <= 85:
            raise ConfigError(f"{origin}: area {area.name}: the sun's elevation must be 5 to 85 degrees")
        for item in area.items:
            _known(item.kind, FURNITURE, origin, f"area {area.name}: item")
            if item.facing is not None:
                _known(item.facing, WALLS, origin, f"area {area.name}: {item.kind}: facing")
    if not 0 <= scene.habits.behind_mps < math.inf:
        raise ConfigError(f"{origin}: habits.behind_mps: {scene.habits.behind_mps:g} is not 0 or more")
    _check_sitting(scene, origin)


def _check_sitting(scene: SceneConfig, origin: str) -> None:
    sit, (low, high) = scene.habits.sit, scene.habits.sit_s
    if not 0 <= sit <= 1:
        raise ConfigError(f"{origin}: habits.sit: {sit:g} is not in 0…1")
    if not 0 < low <= high:
        raise ConfigError(f"{origin}: habits.sit_s: two numbers above 0 are needed, the smaller one first")
    if sit > 0 and not any(item.kind in SEATS for area in scene.areas for item in area.items):
        raise ConfigError(f"{origin}: habits.sit: no area has a {', '.join(SEATS[:-1])} or {SEATS[-1]} to sit on")


def _check_ranges(camera: CameraConfig, origin: str) -> None:
    """A camera's numbers that have bounds."""
    for key, (low, high) in CAMERA_RANGES.items():
        value = getattr(camera, key)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{origin}: camera {camera.name}: {key} must be in {low:g} to {high:g}, found {value:g}")
    for start_s, length_s in camera.outages:
        if not (0 <= start_s < math.inf and 0 < length_s < math.inf):
            raise ConfigError(f"{origin}: camera {camera.name}: outages must be [start, length] in seconds, start of 0 "
                              f"or more and length above 0, found [{start_s:g}, {length_s:g}]")  # fmt: skip


def _known(word: str, choices: Any, origin: str, what: str) -> None:
    if word not in choices:
        raise ConfigError(f"{origin}: {what} '{word}' is unknown{suggest(word, choices)}")
