"""One file about a place: its cameras and their calibration, clocks, areas, doors, and the ways between cameras.

    unit: m                          # of the floor, unless a camera says otherwise: m, cm, mm, in, ft, or metres
    cameras:
      cam1: {file: calibration.json}                          # as mctrack synth and calibrate write it
      cam2: {intrinsic: intr.xml, extrinsic: extr.xml, unit: cm}    # OpenCV: XML, YAML or JSON
      cam3: {homography: h3.txt, direction: image_to_ground, size: [1920, 1080]}   # 3 × 3, or [[…], […], […]]
      cam4: {epfl: calibration-4p.txt, number: 0, size: [360, 288], unit: 0.0145}
      cam5: {tsai: View_005.xml, unit: mm}
    time_offset_s: {cam2: 0.2}       # added to the camera's clock, as video.offset_s
    areas: {room: [[0, 0], [5, 0], [5, 6], [0, 6]]}      # people are followed inside these only; none: everywhere
    doors: {north: [2.5, 6.0]}       # where people appear and vanish
    transitions: {"cam1->cam5": [5, 40]}                 # seconds, as associate.transitions

Paths count from the site file's folder. A camera that is not listed takes part without calibration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.config import parse_yaml
from mctrack.errors import ConfigError, suggest
from mctrack.geometry.cameras import GroundCamera, Pinhole
from mctrack.geometry.checks import (
    DIRECTIONS,
    check_camera,
    check_handedness,
    check_homography,
    floor_map,
    tell_direction,
)
from mctrack.geometry.readers import (
    matrix_of,
    read_epfl,
    read_json,
    read_matrix,
    read_opencv,
    read_text,
    read_tsai,
    unit_in_m,
)

Array = NDArray[np.float64]
Size = tuple[int, int]
KEYS = ("unit", "cameras", "time_offset_s", "areas", "doors", "transitions")
SOURCES = {
    "file": (), "intrinsic": ("extrinsic",), "homography": ("direction", "head", "head_m"),
    "epfl": ("number", "direction", "head_m"), "tsai": (),
}  # fmt: skip
"""What a camera's calibration may be, and what else belongs to it; ``unit`` and ``size`` always do."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place as its file describes it; everything in metres and seconds.

    Attributes:
        path: the file.
        names: the calibrated cameras' names.
        cameras: their models by name.
        sizes: (width, height) of the pictures they were calibrated for, where the file says.
        time_offset_s: camera → seconds to add to its clock.
        areas: name → (k, 2) corners. doors: name → (2,).
        transitions: ``"a->b"`` → (min_s, max_s).
        files: everything that was read.
        notes: what was found out rather than told, one line each, for the user to see.
    """

    path: Path
    names: tuple[str, ...]
    cameras: dict[str, GroundCamera]
    sizes: dict[str, Size]
    time_offset_s: dict[str, float] = field(default_factory=dict)
    areas: dict[str, Array] = field(default_factory=dict)
    doors: dict[str, Array] = field(default_factory=dict)
    transitions: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @staticmethod
    def ends(way: str) -> tuple[str, str]:
        """The two cameras of a key of ``transitions``."""
        source, _, target = way.partition("->")
        return source.strip(), target.strip()

    def inside(self, xy: Array) -> NDArray[np.bool_]:
        """(n,) whether (n, 2) points lie in an area of interest; everywhere, where there are none."""
        xy = np.asarray(xy, float).reshape(-1, 2)
        if not self.areas:
            return np.ones(len(xy), bool)
        return np.asarray(np.logical_or.reduce([in_polygon(xy, area) for area in self.areas.values()]))


def in_polygon(xy: Array, corners: Array) -> NDArray[np.bool_]:
    """(n,) whether (n, 2) points lie inside a polygon (k, 2), by the parity of edges to their right."""
    a, b = corners, np.roll(corners, -1, axis=0)
    spans = (a[:, 1] > xy[:, 1:]) != (b[:, 1] > xy[:, 1:])
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    cross = a[:, 0] + (xy[:, 1:] - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
    return np.asarray((spans & (xy[:, :1] < cross)).sum(axis=1) % 2 == 1)


def load_site(path: str | Path, sizes: Mapping[str, Size] | None = None) -> Site:
    """Read and check a site file, or a bare ``calibration.json``.

    Args:
        path: the file.
        sizes: camera → picture size of the run, for checks that need one and for cameras whose entry has none.

    Raises:
        ConfigError: one line that names file, camera and key.
    """
    path = Path(path)
    sizes = dict(sizes or {})
    if path.suffix.lower() == ".json":
        found = read_json(path, "calib")
        models, own = {n: c for n, (c, _) in found.items()}, {n: s for n, (_, s) in found.items()}
        site = Site(path, tuple(found), dict(models), own, files=(path,))
    else:
        site = _Reader(path, sizes).site()
    _check(site, sizes)
    return site


def peek_site(path: str | Path) -> Site:
    """What a site file says without looking at the calibrations: ``cameras`` stays empty.

    Raises:
        ConfigError: as :func:`load_site`, but not about calibrations.
    """
    path = Path(path)
    return load_site(path) if path.suffix.lower() == ".json" else _Reader(path, {}).site(build=False)


def match_names(site: Site, cameras: Sequence[str]) -> list[str]:
    """The run's cameras that are calibrated; a site may know more cameras, and a run may have others.

    Raises:
        ConfigError: none is, or one differs from an unused name of the site so little that it looks like a slip.
    """
    matched = [c for c in cameras if c in site.names]
    unused = [c for c in site.names if c not in cameras]
    for name in unused:
        # cam1 and cam2 are near, too: only where letters differ in case or in what joins them it is a slip
        slip = next((c for c in cameras if c not in site.names and _plain(c) == _plain(name)), None)
        if slip is not None:
            raise ConfigError(f"{site.path}: camera '{name}' is not in this run (did you mean '{slip}'?)")
    if not matched:
        raise ConfigError(f"{site.path}: none of its cameras ({', '.join(site.names)}) is in this run; "
                          f"cameras: {', '.join(cameras)}")
    return matched


def _plain(name: str) -> str:
    return "".join(ch for ch in name.lower() if ch.isalnum()).lstrip("0")


def _check(site: Site, sizes: Mapping[str, Size]) -> None:
    """What only shows when the cameras are seen together, or with their pictures."""
    known = {}
    for name, camera in site.cameras.items():
        own, run = site.sizes.get(name), sizes.get(name)
        if own is not None and run is not None and own != run:
            raise ConfigError(f"{site.path}: camera {name}: calibrated for pictures of {own[0]} × {own[1]}, but this "
                              f"run's have {run[0]} × {run[1]}; calibrate again, or scale the calibration")
        size = own or run
        if size is not None:
            check_camera(camera, size, f"{site.path}: camera {name}")
            known[name] = (camera, size)
    check_handedness(known, str(site.path))


class _Reader:
    """One pass over a site file."""

    def __init__(self, path: Path, sizes: Mapping[str, Size]) -> None:
        self.path, self.run_sizes = path, sizes
        self.tree = parse_yaml(read_text(path, "calib"), f"calib: {path}")
        self.notes: list[str] = []
        self.files = [path]
        self.sizes: dict[str, Size] = {}
        for key in self.tree:
            if key not in KEYS:
                raise ConfigError(f"{path}: unknown key '{key}'{suggest(str(key), KEYS)}; known: {', '.join(KEYS)}")
        self.unit = unit_in_m(self.tree["unit"], str(path)) if "unit" in self.tree else None

    def site(self, build: bool = True) -> Site:
        entries = self._section("cameras")
        if not entries:
            raise ConfigError(f"{self.path}: 'cameras' is missing: a name and its calibration each")
        kinds = {str(name): self._kind(str(name), entry) for name, entry in entries.items()}
        calibrated = tuple(name for name, kind in kinds.items() if kind)
        if not calibrated:
            raise ConfigError(f"{self.path}: no camera has a calibration")
        cameras = {}
        if build:
            cameras = {str(n): self._camera(str(n), entry) for n, entry in entries.items() if kinds[str(n)]}
        else:
            for name in calibrated:
                self._list_files(entries[name])
        names = [str(n) for n in entries]
        scale = self.unit if self.unit is not None else 1.0
        offsets = {self._known(n, names, "time_offset_s"): self._number(v, f"time_offset_s.{n}")
                   for n, v in self._section("time_offset_s").items()}
        areas = {str(n): self._points(v, f"areas.{n}", 3) * scale for n, v in self._section("areas").items()}
        doors = {str(n): self._points([v], f"doors.{n}", 1)[0] * scale for n, v in self._section("doors").items()}
        ways = {str(k): self._way(str(k), v, names) for k, v in self._section("transitions").items()}
        return Site(self.path, calibrated, cameras, self.sizes, offsets, areas, doors, ways, tuple(self.notes),
                    tuple(dict.fromkeys(self.files)))

    # ------------------------------------------------------------------ cameras

    def _kind(self, name: str, entry: Any) -> str:
        """Which of ``SOURCES`` a camera's calibration is, empty where it has none; its keys are checked."""
        what = f"{self.path}: camera {name}"
        if entry is None or entry == {}:
            return ""
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{what}: expected e.g. {{file: calibration.json}}, found {entry!r}")
        kinds = [k for k in SOURCES if k in entry]
        if len(kinds) != 1:
            raise ConfigError(f"{what}: needs exactly one of {', '.join(SOURCES)}; found {', '.join(kinds) or 'none'}")
        allowed = (kinds[0], *SOURCES[kinds[0]], "unit", "size")
        for key in entry:
            if key not in allowed:
                raise ConfigError(f"{what}: unknown key '{key}'{suggest(str(key), allowed)}; "
                                  f"with '{kinds[0]}': {', '.join(allowed)}")
        return kinds[0]

    def _list_files(self, entry: Mapping[str, Any]) -> None:
        for key in ("file", "intrinsic", "extrinsic", "homography", "head", "epfl", "tsai"):
            if isinstance(entry.get(key), str):
                self._file(entry[key])

    def _camera(self, name: str, entry: Mapping[str, Any]) -> GroundCamera:
        if "size" in entry:
            width, height = self._points([entry["size"]], f"cameras.{name}.size", 1)[0]
            self.sizes[name] = (int(width), int(height))
        read = {"file": self._own, "intrinsic": self._opencv, "tsai": self._tsai, "epfl": self._epfl,
                "homography": self._homography}[self._kind(name, entry)]  # fmt: skip
        return read(name, entry, f"{self.path}: camera {name}")

    def _own(self, name: str, entry: Mapping[str, Any], what: str) -> Pinhole:
        found = read_json(self._file(entry["file"]), what)
        if name not in found:
            raise ConfigError(f"{what}: {entry['file']} has no camera '{name}'{suggest(name, found)}")
        camera, size = found[name]
        self.sizes.setdefault(name, size)
        return camera

    def _opencv(self, name: str, entry: Mapping[str, Any], what: str) -> GroundCamera:
        inner = self._file(entry["intrinsic"])
        return read_opencv(inner, self._file(entry.get("extrinsic", entry["intrinsic"])), self._unit(entry, what), what)

    def _tsai(self, name: str, entry: Mapping[str, Any], what: str) -> GroundCamera:
        return read_tsai(self._file(entry["tsai"]), self._unit(entry, what), what)

    def _epfl(self, name: str, entry: Mapping[str, Any], what: str) -> GroundCamera:
        found, number = read_epfl(self._file(entry["epfl"]), what), str(entry.get("number", name))
        if number not in found:
            raise ConfigError(f"{what}: {entry['epfl']} has no camera {number}; it has {', '.join(found)}")
        camera = found[number]
        check_homography(camera.ground, what)
        if camera.head is not None:
            check_homography(camera.head, f"{what}: head plane")
        # the format says so: "H * X_image = X_topview"
        return floor_map(camera.ground, self._direction(entry, what) or DIRECTIONS[0], self._size(name, what),
                         self._unit(entry, what), camera.head, float(entry.get("head_m", 1.75)))

    def _homography(self, name: str, entry: Mapping[str, Any], what: str) -> GroundCamera:
        matrix, head = self._matrix(entry["homography"], what), entry.get("head")
        check_homography(matrix, what)
        size, unit, direction = self._size(name, what), self._unit(entry, what), self._direction(entry, what)
        if direction is None:
            camera, direction = tell_direction(matrix, size, unit, what)
            self.notes.append(f"camera {name}: its homography maps {direction.replace('_', ' ')} (the other way shows "
                              "no believable floor)")
            if head is None:
                return camera
        above = None if head is None else self._matrix(head, what)
        if above is not None:
            check_homography(above, f"{what}: head plane")
        return floor_map(matrix, direction, size, unit, above, float(entry.get("head_m", 1.75)))

    # ------------------------------------------------------------------ values

    def _file(self, name: Any) -> Path:
        self.files.append(self.path.parent / str(name))
        return self.files[-1]

    def _matrix(self, value: Any, what: str) -> Array:
        return read_matrix(self._file(value), what) if isinstance(value, str) else matrix_of(value, what)

    def _unit(self, entry: Mapping[str, Any], what: str) -> float:
        if "unit" in entry:
            return unit_in_m(entry["unit"], what)
        if self.unit is None:
            raise ConfigError(f"{what}: which unit is the floor in? say unit: m, cm, mm, or metres per unit")
        return self.unit

    def _size(self, name: str, what: str) -> Size:
        size = self.sizes.get(name) or self.run_sizes.get(name)
        if size is None:
            raise ConfigError(f"{what}: needs size: [width, height] of the picture it was calibrated for")
        return size

    @staticmethod
    def _direction(entry: Mapping[str, Any], what: str) -> str | None:
        direction = entry.get("direction")
        if direction is not None and direction not in DIRECTIONS:
            raise ConfigError(f"{what}: direction '{direction}' must be {' or '.join(DIRECTIONS)}")
        return direction

    def _section(self, key: str) -> Mapping[Any, Any]:
        section = self.tree.get(key) or {}
        if not isinstance(section, Mapping):
            raise ConfigError(f"{self.path}: '{key}' must be 'name: value' lines")
        return section

    def _known(self, name: Any, names: Sequence[str], key: str) -> str:
        if str(name) not in names:
            raise ConfigError(f"{self.path}: {key}: no camera '{name}'{suggest(str(name), names)}; "
                              f"cameras: {', '.join(names)}")
        return str(name)

    def _number(self, value: Any, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise ConfigError(f"{self.path}: {key} must be a number, found {value!r}")
        return float(value)

    def _points(self, value: Any, key: str, at_least: int) -> Array:
        try:
            points = np.array(value, float)
        except (TypeError, ValueError):
            points = np.zeros(0)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < at_least or not np.isfinite(points).all():
            wanted = "two numbers" if at_least == 1 else f"a list of at least {at_least} [x, y]"
            raise ConfigError(f"{self.path}: {key} must be {wanted}")
        return points

    def _way(self, key: str, value: Any, names: Sequence[str]) -> tuple[float, float]:
        ends = [part.strip() for part in key.split("->")]
        if len(ends) != 2 or not isinstance(value, list) or len(value) != 2:
            raise ConfigError(f"{self.path}: transitions: '{key}' must be like 'cam1->cam2: [min_s, max_s]'")
        for name in ends:
            self._known(name, names, "transitions")
        low, high = (self._number(v, f"transitions.{key}") for v in value)
        if low > high:
            raise ConfigError(f"{self.path}: transitions: '{key}: [{low:g}, {high:g}]' has its shortest time last")
        return low, high
