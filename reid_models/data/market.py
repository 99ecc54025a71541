"""Market-1501 (Zheng et al. 2015) and DukeMTMC-reID (Ristani et al. 2016, Zheng et al. 2017), with attributes.

DukeMTMC was withdrawn by its authors in 2019, after criticism that the people in it had not agreed to be filmed. The
reader is here so that published results can be checked; do not build products on that dataset.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from reid_models.data.attributes import identity_attributes
from reid_models.data.layout import Named, images_from, need_folders, pictures
from reid_models.data.types import ReidDataset, ReidImages
from reid_models.errors import ReidError

_NAME = re.compile(r"(-?\d+)_c(\d+)")
_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def read_market1501(root: Path, attributes: str | Path | None = None, age_groups: int = 2,
                    multi_query: bool = False) -> ReidDataset:
    """Market-1501: ``ROOT/bounding_box_train``, ``query``, ``bounding_box_test``; files ``0002_c1s1_000451_03.jpg``.

    The protocol ignores junk (−1 in a file's name) and counts distractors (0000) as wrong entries: here junk is left
    out (19,732 − 3,819 = 15,913 pictures remain), and distractors are one more identity, 0, that no query asks for.
    ``ROOT`` may also be the folder above.

    Args:
        root: the folder.
        attributes: ``market_attribute.mat`` (Lin et al. 2019); default: in ``ROOT`` where it is there.
        age_groups: 2 tells grown-ups from the young in one column (27 attributes, as the AM0BH paper counts); 4
            has a column each for young, teenager, adult and old (30).
        multi_query: queries are all pictures of ``ROOT/gt_bbox`` of a query's person in its camera; pool their
            features with ``protocols.multi_query``.
    """
    folder, name = _inside(root, ("Market-1501-v15.09.15", "market1501", "Market-1501"), "Market-1501"), "market1501"
    train, query, gallery = (_read(folder, part, "Market-1501") for part in _FOLDERS)
    if multi_query:
        query = _multi_query(folder, query)
    return _with_attributes(name, folder, "market_attribute", attributes, age_groups, train, query, gallery)


def read_dukemtmc(root: Path, attributes: str | Path | None = None) -> ReidDataset:
    """DukeMTMC-reID: the folders of Market-1501; files ``0001_c2_f0046182.jpg``. Withdrawn by its authors in 2019.

    Args:
        root: the folder, or the one above.
        attributes: ``duke_attribute.mat`` (Lin et al. 2019; 23 attributes); default: in ``ROOT`` where it is there.
    """
    folder = _inside(root, ("DukeMTMC-reID", "dukemtmc-reid", "DukeMTMC-reID/DukeMTMC-reID"), "DukeMTMC-reID")
    train, query, gallery = (_read(folder, part, "DukeMTMC-reID") for part in _FOLDERS)
    return _with_attributes("dukemtmc", folder, "duke_attribute", attributes, 2, train, query, gallery)


def read_like_market(root: Path, name: str, dataset: str) -> ReidDataset:
    """Another dataset, rearranged into the folders and names of Market-1501.

    Args:
        root: the folder.
        name: of what is returned.
        dataset: for messages.
    """
    need_folders(root, dataset, _FOLDERS)
    # rearranged datasets may number people from 0: there are no distractors among them
    train, query, gallery = (_read(root, part, dataset, lowest=0) for part in _FOLDERS)
    return ReidDataset(name, train, query, gallery)


def _inside(root: Path, names: tuple[str, ...], dataset: str) -> Path:
    if not (root / _FOLDERS[0]).is_dir():
        for name in names:
            if (root / name / _FOLDERS[0]).is_dir():
                return root / name
    need_folders(root, dataset, _FOLDERS)
    return root


def _read(folder: Path, part: str, dataset: str, lowest: int = 1) -> ReidImages:
    def label(path: Path) -> Named | None:
        match = _NAME.match(path.name)
        if match is None:
            raise ReidError(f"{dataset}: {path} has a name unlike 0002_c1s1_000451_03.jpg (pid_ccamera…)")
        pid = int(match[1])
        # Distractors (0) are wrong answers, junk (−1) is none at all: it does not take part.
        return None if pid < 0 else Named(path, pid, int(match[2]) - 1)

    images = images_from(label(path) for path in pictures(folder / part, dataset))
    return images.take(images.pid >= lowest) if part != "bounding_box_test" else images


def _multi_query(folder: Path, query: ReidImages) -> ReidImages:
    need_folders(folder, "Market-1501 with multi_query", ("gt_bbox",))
    whole = _read(folder, "gt_bbox", "Market-1501")
    asked = set(zip(query.pid.tolist(), query.camid.tolist(), strict=True))
    keep = np.array([pair in asked for pair in zip(whole.pid.tolist(), whole.camid.tolist(), strict=True)], bool)
    return whole.take(keep)


def _with_attributes(name: str, folder: Path, key: str, given: str | Path | None, age_groups: int, train: ReidImages,
                     query: ReidImages, gallery: ReidImages) -> ReidDataset:
    path = folder / f"{key}.mat" if given is None else Path(given)
    if given is None and not path.is_file():
        return ReidDataset(name, train, query, gallery)
    names, table = identity_attributes(path, key, age_groups)
    train, query, gallery = (ReidImages(part.paths, part.pid, part.camid, table.rows(part.pid))
                             for part in (train, query, gallery))
    return ReidDataset(name, train, query, gallery, names)
