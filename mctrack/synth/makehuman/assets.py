"""Reading MakeHuman's files: base mesh, morph targets, fitted clothes, skeleton and skin weights.

Lengths become metres (the files hold decimetres); +x is the person's left, +y up, +z front.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import SourceError

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

METRE = 0.1
"""Metres per unit of the files."""


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """A Wavefront mesh: (v, 3) points in file units and, per group, (f, 3) triangles."""

    points: Float32
    groups: dict[str, Int32]

    def triangles(self, prefix: str = "") -> Int32:
        """(f, 3) triangles of all groups whose name starts with ``prefix``."""
        found = [t for name, t in self.groups.items() if name.startswith(prefix)]
        return np.concatenate(found) if found else np.zeros((0, 3), np.int32)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Something worn, bound to the base mesh.

    Attributes:
        vertex: (v, 3) base vertices; weight: (v, 3) their weights, may be negative; offset: (v, 3) file units.
        scale: per axis x, y, z: two base vertices and their distance on the reference body.
        triangles: (f, 3) corner rows; part: (v,) connected component of every vertex.
        hides: base vertices that lie underneath.
    """

    name: str
    vertex: Int32
    weight: Float32
    offset: Float32
    scale: tuple[tuple[int, int, float], ...]
    triangles: Int32
    part: Int32
    hides: Int32


def _lines(path: Path) -> list[str]:
    try:
        if path.suffix == ".gz":
            return gzip.decompress(path.read_bytes()).decode("utf-8", "replace").splitlines()
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise SourceError(f"MakeHuman assets: {path} cannot be read: {error.strerror or error}") from error


def read_obj(path: Path) -> ObjMesh:
    """Read points and faces; polygons become fans, groups that repeat are joined.

    Raises:
        SourceError: the file cannot be read or has no faces.
    """
    points: list[list[float]] = []
    groups: dict[str, list[tuple[int, int, int]]] = {}
    group = ""
    for line in _lines(path):
        if line.startswith("v "):
            points.append([float(x) for x in line.split()[1:4]])
        elif line.startswith("g "):
            group = line.split()[1]
        elif line.startswith("f "):
            corner = [int(p.split("/")[0]) - 1 for p in line.split()[1:]]
            fan = groups.setdefault(group, [])
            fan += [(corner[0], corner[k], corner[k + 1]) for k in range(1, len(corner) - 1)]
    if not points or not groups:
        raise SourceError(f"MakeHuman assets: {path} holds no mesh")
    return ObjMesh(np.array(points, np.float32), {k: np.array(v, np.int32) for k, v in groups.items()})


def read_target(path: Path, vertices: int) -> Float32:
    """(vertices, 3) shifts of a morph target, in file units; a target without a line shifts nothing."""
    flat = np.array(" ".join(row for row in _lines(path) if row[:1] not in ("#", "")).split(), np.float32)
    out = np.zeros((vertices, 3), np.float32)
    if len(flat):
        rows = flat.reshape(-1, 4)
        index = rows[:, 0].astype(np.int64)
        out[index[index < vertices]] = rows[index < vertices, 1:]
    return out


def read_fitted(path: Path) -> Fitted:
    """Read an ``.mhclo`` and the ``.obj`` it names.

    Raises:
        SourceError: a file is missing or its vertices don't match.
    """
    rows: list[list[float]] = []
    hides: list[int] = []
    scale: dict[str, tuple[int, int, float]] = {}
    name, mesh_file, section = path.stem, "", ""
    for line in _lines(path):
        word = line.split()
        if not word or line.startswith("#"):
            continue
        if word[0] in ("verts", "delete_verts"):
            section = word[0]
        elif word[0] in ("x_scale", "y_scale", "z_scale"):
            scale[word[0][0]] = (int(word[1]), int(word[2]), float(word[3]))
        elif word[0] == "name":
            name = word[1]
        elif word[0] == "obj_file":
            mesh_file = word[1]
        elif section == "verts" and _numeric(word):
            rows.append([float(x) for x in word])
        elif section == "delete_verts":
            hides += _ranges(word)
    mesh = read_obj(path.parent / (mesh_file or path.with_suffix(".obj").name))
    if len(rows) != len(mesh.points):
        raise SourceError(f"MakeHuman assets: {path} binds {len(rows)} vertices, its mesh has {len(mesh.points)}")
    # A vertex bound to a single base vertex: all the weight on it, no offset.
    full = np.array([r if len(r) == 9 else [r[0], r[0], r[0], 1, 0, 0, 0, 0, 0] for r in rows], np.float32)
    triangles = mesh.triangles()
    axes = tuple(scale.get(a, (0, 0, 0.0)) for a in "xyz")
    return Fitted(
        name,
        full[:, :3].astype(np.int32),
        full[:, 3:6],
        full[:, 6:],
        axes,
        triangles,
        components(triangles, len(rows)),
        np.array(hides, np.int32),
    )


def _numeric(words: list[str]) -> bool:
    return len(words) in (1, 9) and words[0].lstrip("-").isdigit()


def _ranges(words: list[str]) -> Iterator[int]:
    """``7 9 - 12`` → 7, 9, 10, 11, 12."""
    k = 0
    while k < len(words):
        if k + 2 < len(words) and words[k + 1] == "-":
            yield from range(int(words[k]), int(words[k + 2]) + 1)
            k += 3
        else:
            yield int(words[k])
            k += 1


def components(triangles: Int32, vertices: int) -> Int32:
    """(v,) number of the connected component of every vertex."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a = np.concatenate([triangles[:, 0], triangles[:, 1]])
    b = np.concatenate([triangles[:, 1], triangles[:, 2]])
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(vertices, vertices))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def check_folder(root: Path) -> None:
    """See that a folder holds what every body needs.

    Raises:
        SourceError: it does not hold the base mesh, targets and rig.
    """
    for needed in ("3dobjs/base.obj", "targets/macrodetails", "rigs/default.mhskel", "clothes", "hair"):
        if not (root / needed).exists():
            raise SourceError(f"--people makehuman:{root}: no {needed} there; give the folder of MakeHuman's assets")


class Assets:
    """A folder of MakeHuman's assets; everything is read once, when first asked for."""

    def __init__(self, root: Path) -> None:
        """Open the folder.

        Raises:
            SourceError: it does not hold the base mesh, targets and rig.
        """
        self.root = root
        check_folder(root)
        self.base = read_obj(root / "3dobjs" / "base.obj")
        self.target = lru_cache(maxsize=256)(self._target)
        self.fitted = lru_cache(maxsize=64)(self._fitted)

    def _target(self, name: str) -> Float32:
        """(v, 3) shifts in file units of ``targets/macrodetails/<name>.target.gz``; nothing where it is missing."""
        path = self.root / "targets" / "macrodetails" / f"{name}.target.gz"
        if not path.is_file():
            return np.zeros_like(self.base.points)
        return read_target(path, len(self.base.points))

    def _fitted(self, kind: str, name: str) -> Fitted:
        """Something of ``clothes`` or ``hair`` by its folder's name."""
        folder = self.root / kind / name
        files = sorted(folder.glob("*.mhclo"))
        if not files:
            raise SourceError(f"MakeHuman assets: no .mhclo in {folder}")
        return read_fitted(files[0])

    def skeleton(self) -> tuple[dict[str, str | None], dict[str, list[int]]]:
        """Bone → parent, and bone → the base vertices whose mean is its head."""
        tree = self._json("rigs/default.mhskel")
        bones: dict[str, str | None] = {str(k): v["parent"] for k, v in tree["bones"].items()}
        heads = {str(k): [int(i) for i in tree["joints"][v["head"]]] for k, v in tree["bones"].items()}
        return bones, heads

    def weights(self) -> dict[str, NDArray[np.float64]]:
        """Bone → (n, 2) rows of base vertex and weight."""
        tree = self._json("rigs/default_weights.mhw")
        return {str(k): np.array(v, float).reshape(-1, 2) for k, v in tree["weights"].items()}

    def _json(self, name: str) -> dict[str, dict[str, dict[str, str]]]:
        try:
            tree = json.loads((self.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(f"MakeHuman assets: {self.root / name} cannot be read: {error}") from error
        return dict(tree)
