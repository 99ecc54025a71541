"""Reading calibration files: OpenCV's (as WILDTRACK ships them), Tsai's, EPFL's text, plain 3 × 3, and our own JSON."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.config import parse_yaml
from mctrack.errors import ConfigError
from mctrack.geometry.cameras import Pinhole, Tsai

Array = NDArray[np.float64]
UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}


def unit_in_m(unit: object, what: str) -> float:
    """Metres per unit, from a name (``cm``) or a number of metres.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(unit, str) and unit in UNITS:
        return UNITS[unit]
    if isinstance(unit, int | float) and not isinstance(unit, bool) and 0 < unit < 1e6:
        return float(unit)
    raise ConfigError(f"{what}: unit '{unit}' is not known; use {', '.join(UNITS)}, or metres per unit as a number")


def read_text(path: Path, what: str) -> str:
    """A text file's content.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"{what}: {path} cannot be read: {reason}") from error


# ---------------------------------------------------------------------- OpenCV


def read_opencv(intrinsic: Path, extrinsic: Path, unit_m: float, what: str) -> Pinhole:
    """OpenCV's intrinsic and extrinsic file (one may hold both), in XML, YAML or JSON.

    ``camera_matrix``, ``distortion_coefficients``, ``rvec`` and ``tvec`` (or ``R`` and ``T``) are looked for.
    """
    inner, outer = opencv_tree(intrinsic, what), opencv_tree(extrinsic, what)
    matrix = _pick(inner, ("camera_matrix", "cameraMatrix", "K", "intrinsic", "M"), intrinsic, what)
    dist = _pick(inner, ("distortion_coefficients", "dist_coeffs", "distCoeffs", "dist", "D"), intrinsic, what)
    tvec = _pick(outer, ("tvec", "T", "t", "translation"), extrinsic, what).reshape(-1)
    rotation = _pick(outer, ("rvec", "R", "rotation"), extrinsic, what).reshape(-1)
    if matrix.size != 9:
        raise ConfigError(f"{what}: {intrinsic}: the camera matrix has {matrix.size} numbers, expected 3 × 3")
    if tvec.size != 3 or rotation.size not in (3, 9):
        raise ConfigError(f"{what}: {extrinsic}: expected rvec of 3 (or R of 9) and tvec of 3 numbers")
    R = rodrigues(rotation) if rotation.size == 3 else rotation.reshape(3, 3)
    return pinhole(matrix.reshape(3, 3), dist.reshape(-1), R, tvec * unit_m, what)


def pinhole(matrix: Array, dist: Array, R: Array, t: Array, what: str) -> Pinhole:
    """A checked pinhole camera; coefficients beyond k3 must be zero.

    Raises:
        ConfigError: the numbers cannot be a camera's.
    """
    dist = np.asarray(dist, float).reshape(-1)
    if len(dist) > 5 and np.any(dist[5:]):
        raise ConfigError(f"{what}: {len(dist)} distortion coefficients; only k1, k2, p1, p2, k3 are supported")
    five = np.zeros(5)
    five[: min(len(dist), 5)] = dist[:5]
    K, R, t = np.asarray(matrix, float), np.asarray(R, float), np.asarray(t, float).reshape(3)
    if not all(np.isfinite(a).all() for a in (K, five, R, t)):
        raise ConfigError(f"{what}: the calibration holds numbers that are not finite")
    if K.shape != (3, 3) or K[0, 0] <= 0 or K[1, 1] <= 0 or not np.allclose(K[2] / K[2, 2], [0, 0, 1], atol=1e-6):
        raise ConfigError(f"{what}: the camera matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0")
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3):
        raise ConfigError(f"{what}: R is not a rotation (its rows must be perpendicular and of length 1)")
    if np.linalg.det(R) < 0:
        raise ConfigError(f"{what}: R mirrors the world (its determinant is −1): the points it is from are mirrored")
    return Pinhole(K / K[2, 2], five, R, t)


def rodrigues(vector: Array) -> Array:
    """(3, 3) rotation about a (3,) axis by its length in radians."""
    angle = float(np.linalg.norm(vector))
    x, y, z = np.asarray(vector, float) / max(angle, 1e-300)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def opencv_tree(path: Path, what: str) -> dict[str, Array]:
    """Name → numbers of an OpenCV file, by its ending or, failing that, its first character."""
    text = read_text(path, what)
    start = text.lstrip()[:1]
    try:
        if path.suffix.lower() == ".xml" or start == "<":
            return _from_xml(text)
        if path.suffix.lower() == ".json" or start == "{":
            return _from_tree(json.loads(text))
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%YAML"))
        return _from_tree(parse_yaml(re.sub(r"!!opencv-matrix", "", body), f"{what}: {path}"))
    except (ElementTree.ParseError, json.JSONDecodeError, ValueError) as error:
        raise ConfigError(f"{what}: {path} is no OpenCV calibration: {str(error).splitlines()[0]}") from error


def _from_xml(text: str) -> dict[str, Array]:
    out = {}
    for node in ElementTree.fromstring(text):
        data = node.find("data")
        numbers = [float(word) for word in ((node if data is None else data).text or "").split() if _is_number(word)]
        if numbers:
            out[node.tag] = np.array(numbers)
    return out


def _from_tree(tree: Any) -> dict[str, Array]:
    out = {}
    for name, value in (tree if isinstance(tree, Mapping) else {}).items():
        data = value.get("data") if isinstance(value, Mapping) else value
        if isinstance(data, list):
            try:
                out[str(name)] = np.array(data, float).reshape(-1)
            except (TypeError, ValueError) as error:
                raise ValueError(f"'{name}' is no list of numbers") from error
    return out


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _pick(tree: Mapping[str, Array], names: tuple[str, ...], path: Path, what: str) -> Array:
    for name in names:
        if name in tree:
            return tree[name]
    raise ConfigError(f"{what}: {path} has no '{names[0]}'; it has {', '.join(tree) or 'nothing of use'}")


# ---------------------------------------------------------------------- Tsai


TSAI_KEYS = ("focal", "kappa1", "cx", "cy", "dpx", "dpy", "sx", "rx", "ry", "rz", "tx", "ty", "tz")


def read_tsai(path: Path, unit_m: float, what: str) -> Tsai:
    """Tsai's parameters as attributes of XML elements (PETS 2009) or ``name: value`` in YAML or JSON."""
    text = read_text(path, what)
    values: dict[str, Any] = {}
    try:
        if text.lstrip().startswith("<"):
            for node in ElementTree.fromstring(text).iter():
                values |= {k.lower(): v for k, v in node.attrib.items()}
        else:
            values = {str(k).lower(): v for k, v in parse_yaml(text, f"{what}: {path}").items()}
    except ElementTree.ParseError as error:
        raise ConfigError(f"{what}: {path} is no Tsai calibration: {str(error).splitlines()[0]}") from error
    numbers = {}
    for key in TSAI_KEYS:
        if key not in values and key != "sx":
            raise ConfigError(f"{what}: {path} has no '{key}'; Tsai's model needs {', '.join(TSAI_KEYS)}")
        try:
            numbers[key] = float(values.get(key, 1.0))
        except (TypeError, ValueError):
            numbers[key] = np.nan
        if not np.isfinite(numbers[key]):
            raise ConfigError(f"{what}: {path}: '{key}' is {values[key]!r}, expected a finite number")
    return tsai(numbers, unit_m)


def tsai(values: Mapping[str, float], unit_m: float) -> Tsai:
    """A camera of Tsai's parameters; rotation is Rz Ry Rx by angles in radians, translation in units."""
    sx, cx = np.sin(values["rx"]), np.cos(values["rx"])
    sy, cy = np.sin(values["ry"]), np.cos(values["ry"])
    sz, cz = np.sin(values["rz"]), np.cos(values["rz"])
    Rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    Ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    Rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    t = np.array([values["tx"], values["ty"], values["tz"]]) * unit_m
    return Tsai(values["focal"], values["kappa1"], np.array([values["cx"], values["cy"]]),
                np.array([values["dpx"], values["dpy"]]), values["sx"], Rz @ Ry @ Rx, t)


# ---------------------------------------------------------------------- homographies


@dataclass(frozen=True, eq=False)
class EpflCamera:
    """One camera of an EPFL file: (3, 3) image → floor plan, the same at head height, or the row of all heads."""

    ground: Array
    head: Array | None = None
    head_row_px: float | None = None


def read_epfl(path: Path, what: str) -> dict[str, EpflCamera]:
    """The cameras of EPFL's calibration text, by the number its comments give them."""
    blocks: dict[str, dict[str, list[float]]] = {}
    camera = kind = ""
    for number, line in enumerate(read_text(path, what).splitlines(), 1):
        words = line.strip().lstrip("#").strip().lower()
        if line.lstrip().startswith("#"):
            title = re.match(r"camera\s+(\S+)", words)
            camera = title[1] if title else camera
            kind = next((k for k in ("ground plane", "head plane homography", "head plane height") if k in words), kind)
        elif words:
            parts = words.replace(",", " ").split()
            if not kind or not all(_is_number(p) for p in parts):
                raise ConfigError(f"{what}: {path} line {number}: expected numbers below a comment such as "
                                  "'# Ground plane homography'")
            blocks.setdefault(camera, {}).setdefault(kind, []).extend(map(float, parts))
    cameras = {}
    for name, block in blocks.items():
        ground, head = block.get("ground plane", []), block.get("head plane homography")
        if len(ground) != 9 or (head is not None and len(head) != 9):
            raise ConfigError(f"{what}: {path}: camera {name} needs homographies of 9 numbers")
        row = block.get("head plane height", [None])[0]
        cameras[name] = EpflCamera(np.array(ground).reshape(3, 3),
                                   None if head is None else np.array(head).reshape(3, 3), row)
    if not cameras:
        raise ConfigError(f"{what}: {path} holds no '# Ground plane homography'")
    return cameras


def read_matrix(path: Path, what: str) -> Array:
    """(3, 3) numbers of a text or JSON file."""
    if path.suffix.lower() == ".json":
        return matrix_of(_json(path, what), f"{what}: {path}")
    lines = [line for line in read_text(path, what).splitlines() if not line.lstrip().startswith("#")]
    return matrix_of(re.split(r"[\s,;\[\]]+", " ".join(lines).strip()), f"{what}: {path}")


def matrix_of(value: Any, what: str) -> Array:
    """(3, 3) from nested or flat lists of nine numbers.

    Raises:
        ConfigError: it is something else.
    """
    try:
        flat = np.array([v for v in value if v != ""] if isinstance(value, list) else value, float).reshape(-1)
    except (TypeError, ValueError):
        flat = np.zeros(0)
    if flat.size != 9 or not np.isfinite(flat).all():
        raise ConfigError(f"{what}: expected nine numbers, a 3 × 3 homography")
    return flat.reshape(3, 3)


# ---------------------------------------------------------------------- our own JSON


def read_json(path: Path, what: str) -> dict[str, tuple[Pinhole, tuple[int, int]]]:
    """Camera → model and picture size, of a ``calibration.json`` as ``mctrack synth`` and ``calibrate`` write it."""
    tree = _json(path, what)
    if not isinstance(tree, Mapping) or not isinstance(tree.get("cameras"), Mapping):
        raise ConfigError(f"{what}: {path}: expected an object with 'units' and 'cameras', an entry per camera")
    if "units" not in tree:
        raise ConfigError(f"{what}: {path} has no 'units'; use {', '.join(UNITS)}, or metres per unit as a number")
    unit = unit_in_m(tree["units"], f"{what}: {path}")
    return {str(name): _json_camera(entry, unit, f"{path}: camera {name}") for name, entry in tree["cameras"].items()}


def _json(path: Path, what: str) -> Any:
    try:
        return json.loads(read_text(path, what))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{what}: {path} is not JSON: {error}") from error


def _json_camera(entry: Any, unit_m: float, what: str) -> tuple[Pinhole, tuple[int, int]]:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{what}: expected an object with image_size, K, dist, R and t")
    K, R, t = (_numbers(entry, key, shape, what) for key, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,))))
    width, height = _numbers(entry, "image_size", (2,), what).tolist()
    if not (1 <= width < 1e6 and 1 <= height < 1e6):
        raise ConfigError(f"{what}: image_size is {width:g} × {height:g}; expected pixels, [width, height]")
    dist = _numbers({"dist": [], **entry}, "dist", (-1,), what)
    return pinhole(K, dist, R, t * unit_m, what), (int(width), int(height))


def _numbers(entry: Mapping[str, Any], key: str, shape: tuple[int, ...], what: str) -> Array:
    """A key's numbers in that shape; −1: however many there are."""
    if key not in entry:
        raise ConfigError(f"{what} has no '{key}'; it needs image_size, K, R and t")
    try:
        return np.array(entry[key], float).reshape(shape)
    except (TypeError, ValueError) as error:
        wanted = "numbers" if shape == (-1,) else f"{' × '.join(map(str, shape))} numbers"
        raise ConfigError(f"{what}: '{key}' must be a list of {wanted}") from error
