"""Vehicles: VeRi-776 (Liu et al. 2016) and VehicleID (Liu et al. 2016)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from reid_models.data.layout import Named, images_from, lines, need_folders, pictures
from reid_models.data.types import ReidDataset, ReidImages
from reid_models.errors import ReidError

_VERI = re.compile(r"(\d+)_c(\d+)")
_SIZES = (800, 1600, 2400)


def read_veri776(root: Path) -> ReidDataset:
    """VeRi-776: ``ROOT/image_train``, ``image_query``, ``image_test``; files ``0001_c001_00016450_0.jpg``.

    Args:
        root: the folder, or the one above (``VeRi``).
    """
    folder = root / "VeRi" if not (root / "image_train").is_dir() and (root / "VeRi").is_dir() else root
    names = ("image_train", "image_query", "image_test")
    need_folders(folder, "VeRi-776", names)
    train, query, gallery = (_veri(folder / name) for name in names)
    return ReidDataset("veri776", train, query, gallery)


def _veri(folder: Path) -> ReidImages:
    def label(path: Path) -> Named:
        match = _VERI.match(path.name)
        if match is None:
            raise ReidError(f"VeRi-776: {path} has a name unlike 0001_c001_00016450_0.jpg (vehicle_ccamera…)")
        return Named(path, int(match[1]), int(match[2]) - 1)

    return images_from(label(path) for path in pictures(folder, "VeRi-776"))


def read_vehicleid(root: Path, size: int = 2400, seed: int = 0) -> ReidDataset:
    """VehicleID: ``ROOT/image/*.jpg``, ``ROOT/train_test_split/train_list.txt``, ``test_list_2400.txt``, ….

    Lines are ``<picture without .jpg> <vehicle>``. Cameras are not told. One random picture of each tested vehicle
    is the gallery and the others ask; figures are means over ten such choices (protocol ``random_gallery``).

    Args:
        root: the folder, or the one above (``VehicleID_V1.0``).
        size: tested vehicles: 800, 1600 or 2400.
        seed: of the choice of the gallery that this returns.
    """
    if size not in _SIZES:
        raise ReidError(f"VehicleID: size is {size}, expected one of {_SIZES}")
    nested = root / "VehicleID_V1.0"
    folder = nested if not (root / "image").is_dir() and nested.is_dir() else root
    lists = ("train_test_split/train_list.txt", f"train_test_split/test_list_{size}.txt")
    need_folders(folder, "VehicleID", ("image", *lists))
    train, test = (_vehicles(folder, folder / name) for name in lists)
    order = np.random.default_rng(seed).permutation(len(test))
    _, first = np.unique(test.pid[order], return_index=True)
    chosen = np.sort(order[first])
    query = test.take(np.setdiff1d(np.arange(len(test)), chosen))
    gallery = test.take(chosen)
    # no camera is told, and none is to be left out: the query's is another than the gallery's
    gallery = ReidImages(gallery.paths, gallery.pid, np.ones(len(gallery), np.int64))
    return ReidDataset("vehicleid", train, query, gallery, protocol="random_gallery")


def _vehicles(folder: Path, path: Path) -> ReidImages:
    rows = []
    for i, line in lines(path, "VehicleID"):
        words = line.split()
        if len(words) != 2 or not words[1].isdigit():
            raise ReidError(f"VehicleID: {path}, line {i}: expected '<picture> <vehicle>', found '{line[:80]}'")
        rows.append(Named(folder / "image" / f"{words[0].removesuffix('.jpg')}.jpg", int(words[1]), 0))
    return images_from(rows)
