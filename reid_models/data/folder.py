"""People's own data: a folder for each identity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from reid_models.data.layout import SUFFIXES, Named, images_from
from reid_models.data.types import Ints, ReidDataset, ReidImages
from reid_models.errors import ReidError

_HELP = ("expected ROOT/<identity>/<camera>_<anything>.jpg, or ROOT/train, ROOT/query and ROOT/gallery, each with "
         "<identity>/<camera>_<anything>.jpg")


def read_folder(root: Path, test_share: float = 0.5, seed: int = 0) -> ReidDataset:
    """A plain folder-per-identity layout, as ``mctrack make-reid-data`` writes it.

    Two forms:

    - ``ROOT/<identity>/<camera>_<anything>.jpg``: identity and camera are any text without ``/``; the camera is
      what stands before the first ``_`` (names without one: one camera). Identities are
      divided at random into those to learn from and those to be asked about; of the latter, one picture a camera is
      a query and the rest gallery.
    - ``ROOT/train``, ``ROOT/query``, ``ROOT/gallery`` (``train`` alone, or the last two alone, will do), each with
      ``<identity>/<camera>_<anything>.jpg``. Identities of ``query`` and ``gallery`` are matched by name; a folder
      ``junk`` in ``gallery`` holds pictures that are ignored.

    Args:
        root: the folder.
        test_share: first form: share of the identities that are asked about, 0…1.
        seed: first form: of the division.
    """
    if not (_is_number(test_share, int, float) and 0 <= test_share <= 1):
        raise ReidError(f"folder: test_share is {test_share}, expected a number from 0 to 1")
    if not (_is_number(seed, int) and seed >= 0):
        raise ReidError(f"folder: seed is {seed}, expected a whole number from 0")
    cameras: dict[str, int] = {}
    sides = [name for name in ("train", "query", "gallery") if (root / name).is_dir()]
    if not sides:
        people = _people(root, cameras, {})  # fills in the cameras
        return _divide(_by_name(people, cameras), test_share, seed)
    if ("query" in sides) != ("gallery" in sides):
        raise ReidError(f"folder: {root} has no {'gallery' if 'query' in sides else 'query'}; {_HELP}")
    tested: dict[str, int] = {}
    parts = {name: _people(root / name, cameras, {} if name == "train" else tested) for name in sides}
    train, query, gallery = (parts.get(name, ReidImages.none()) for name in ("train", "query", "gallery"))
    return ReidDataset("folder", _by_name(train, cameras), _by_name(query, cameras), _by_name(gallery, cameras))


def _is_number(value: object, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _people(root: Path, cameras: dict[str, int], people: dict[str, int]) -> ReidImages:
    """All pictures below a folder of identities; new names are numbered on."""
    folders = sorted((path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")), key=_natural)
    images = images_from(picture for folder in folders for picture in _pictures(folder, cameras, people))
    if not len(images):
        raise ReidError(f"folder: no pictures in {root}; {_HELP}")
    return images


def _pictures(folder: Path, cameras: dict[str, int], people: dict[str, int]) -> Iterator[Named]:
    pid = -1 if folder.name == "junk" else people.setdefault(folder.name, len(people))
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            camera, underscore, _ = path.stem.partition("_")
            yield Named(path, pid, cameras.setdefault(camera if underscore else "", len(cameras)))


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Names in the order people expect: 2 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)], path.name


def _by_name(images: ReidImages, cameras: dict[str, int]) -> ReidImages:
    """Cameras numbered by name instead of by first sight."""
    order = {name: i for i, name in enumerate(sorted(cameras, key=lambda name: _natural(Path(name))))}
    number = np.zeros(len(cameras), np.int64)
    number[list(cameras.values())] = [order[name] for name in cameras]
    return ReidImages(images.paths, images.pid, number[images.camid], images.attributes)


def _divide(images: ReidImages, test_share: float, seed: int) -> ReidDataset:
    """Random identities to be asked about, one query a camera; only those seen in two cameras can be asked for."""
    people = images.identities
    asked = np.random.default_rng(seed).permutation(people)[: round(test_share * len(people))]
    test = images.take(np.isin(images.pid, asked))
    train = images.take(~np.isin(images.pid, asked) & (images.pid >= 0))
    query = first_of_each(test.pid, test.camid)
    rest = np.setdiff1d(np.arange(len(test)), query)
    return ReidDataset("folder", train, test.take(query), test.take(rest))


def first_of_each(pid: Ints, camid: Ints) -> Ints:
    """Rows of the first picture of each person in each camera, where another of them is left in another camera."""
    seen: set[tuple[int, int]] = set()
    rows = []
    for i, pair in zip(count(), zip(pid.tolist(), camid.tolist(), strict=True)):
        if pair not in seen:
            seen.add(pair)
            rows.append(i)
    first = np.array(rows, np.int64)
    rest = np.setdiff1d(np.arange(len(pid)), first)
    findable = [bool(((pid[rest] == pid[i]) & (camid[rest] != camid[i])).any()) for i in first]
    return first[np.array(findable, bool)] if len(first) else first
