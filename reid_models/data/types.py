"""What a dataset is: paths and labels as arrays, checked once; and how sets are relabelled, thinned and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_models.errors import ReidError

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReidImages:
    """n pictures of people (or vehicles), each cut out of a larger one.

    Attributes:
        paths: n files.
        pid: (n,) int64 identities as the dataset numbers them; −1 shows nobody who is ever asked for (junk).
        camid: (n,) int64 cameras, 0 or more.
        attributes: (n, M) int8, 0 or 1, −1 where unknown; None where the dataset has none.
    """

    paths: tuple[Path, ...]
    pid: Ints
    camid: Ints
    attributes: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(self.paths))
        n = len(self.paths)
        for name in ("pid", "camid"):
            values = np.asarray(getattr(self, name), np.int64)
            if values.shape != (n,):
                raise ReidError(f"'{name}' has shape {values.shape}, expected ({n},) for {n} pictures")
            object.__setattr__(self, name, values)
        if self.attributes is not None:
            table = np.asarray(self.attributes, np.int8)
            if table.ndim != 2 or len(table) != n or not np.isin(table, (-1, 0, 1)).all():
                raise ReidError(f"'attributes' has shape {table.shape}, expected ({n}, M) of -1, 0 and 1")
            object.__setattr__(self, "attributes", table)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: ArrayLike) -> ReidImages:
        """Some of the pictures: a boolean mask (n,) or row numbers."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        attributes = None if self.attributes is None else self.attributes[rows]
        return ReidImages(tuple(self.paths[i] for i in rows.tolist()), self.pid[rows], self.camid[rows], attributes)

    @property
    def identities(self) -> Ints:
        """(C,) the people in it, increasing, without −1."""
        pids = np.unique(self.pid)
        return pids[pids >= 0]

    @staticmethod
    def none(attributes: int | None = None) -> ReidImages:
        """No picture at all."""
        table = None if attributes is None else np.zeros((0, attributes), np.int8)
        return ReidImages((), np.zeros(0, np.int64), np.zeros(0, np.int64), table)


@dataclass(frozen=True, eq=False)
class ReidDataset:
    """Pictures to learn from, and pictures to be asked about.

    Attributes:
        name: for reports.
        train: to learn from; junk has been left out.
        query, gallery: of people who are not in ``train``. The gallery may hold junk (pid −1, ignored by the scores)
            and distractors (a pid that no query has, so wrong wherever they come).
        attribute_names: (M,) names of the columns of ``attributes``; empty where there are none.
        protocol: how its authors score it; a key of ``reid_models.protocols.PROTOCOLS``.
    """

    name: str
    train: ReidImages
    query: ReidImages
    gallery: ReidImages
    attribute_names: tuple[str, ...] = ()
    protocol: str = "standard"

    def describe(self) -> str:
        """One line for people: how many pictures, identities and cameras."""
        parts = [f"{side} {len(images)} pictures of {len(images.identities)} in {len(np.unique(images.camid))} cameras"
                 for side, images in (("train", self.train), ("query", self.query), ("gallery", self.gallery))]
        return f"{self.name}: {'; '.join(parts)}"


def relabel(pid: ArrayLike) -> tuple[Ints, Ints]:
    """Number people 0…C−1 in the order of their pids.

    Args:
        pid: (n,) any integers; negative ones stay −1.

    Returns:
        (n,) labels, and (C,) the pid of each label.
    """
    values = np.asarray(pid, np.int64)
    known = np.unique(values[values >= 0])
    return np.where(values >= 0, np.searchsorted(known, values), -1), known


def keep_identities(images: ReidImages, share: float, rng: np.random.Generator) -> ReidImages:
    """A random share (0…1] of the identities with all their pictures, at least one (FIDI, section V-C).

    Raises:
        ReidError: the share is no such number.
    """
    if not 0 < share <= 1:
        raise ReidError(f"share of the identities is {share}, expected a number above 0 and up to 1")
    known = images.identities
    kept = rng.permutation(known)[: max(1, round(share * len(known)))]
    return images.take(np.isin(images.pid, kept) | (images.pid < 0))


def join_datasets(datasets: Sequence[ReidDataset]) -> ReidDataset:
    """Several datasets as one, for joint training.

    Nobody and no camera is in two of them: people are numbered anew 0, 1, … in each of the joined sets (train; and
    query with gallery), cameras likewise over everything. Attributes are kept where the names agree; where one
    dataset does not know an attribute that another has, it is −1.

    Raises:
        ReidError: there is none to join.
    """
    if not datasets:
        raise ReidError("no dataset to join")
    if len(datasets) == 1:
        return datasets[0]
    names = tuple(dict.fromkeys(name for data in datasets for name in data.attribute_names))
    sides: dict[str, list[ReidImages]] = {"train": [], "query": [], "gallery": []}
    people = {"train": 0, "test": 0}
    cameras = 0
    for data in datasets:
        camids = np.unique(np.concatenate([data.train.camid, data.query.camid, data.gallery.camid]))
        test_pids = np.union1d(data.query.identities, data.gallery.identities)
        for side, parts in sides.items():
            images: ReidImages = getattr(data, side)
            which = "train" if side == "train" else "test"
            known = data.train.identities if side == "train" else test_pids
            pid = np.where(images.pid >= 0, np.searchsorted(known, images.pid) + people[which], -1)
            parts.append(ReidImages(images.paths, pid, np.searchsorted(camids, images.camid) + cameras,
                                    _columns(images, data.attribute_names, names)))
        people["train"] += len(data.train.identities)
        people["test"] += len(test_pids)
        cameras += len(camids)
    train, query, gallery = (_concatenate(parts) for parts in sides.values())
    return ReidDataset("+".join(data.name for data in datasets), train, query, gallery, names)


def _columns(images: ReidImages, has: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.int8] | None:
    if not wanted:
        return None
    table = np.full((len(images), len(wanted)), -1, np.int8)
    if images.attributes is not None:
        for column, name in enumerate(has):
            table[:, wanted.index(name)] = images.attributes[:, column]
    return table


def _concatenate(parts: Sequence[ReidImages]) -> ReidImages:
    tables = [part.attributes for part in parts if part.attributes is not None]
    return ReidImages(tuple(path for part in parts for path in part.paths),
                      np.concatenate([part.pid for part in parts]), np.concatenate([part.camid for part in parts]),
                      np.concatenate(tables) if tables else None)


def without_training(data: ReidDataset) -> ReidDataset:
    """The same dataset with nothing to learn from."""
    columns = None if data.train.attributes is None else data.train.attributes.shape[1]
    return replace(data, train=ReidImages.none(columns))
