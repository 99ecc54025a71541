"""CUHK03 (Li et al. 2014): 1,467 people, five pairs of cameras, boxes by a detector or by hand, two protocols."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from reid_models.data.cuhk_mat import CLASSIC_TESTS, extract
from reid_models.data.layout import Named, images_from, pictures
from reid_models.data.market import read_like_market
from reid_models.data.types import Ints, ReidDataset
from reid_models.errors import ReidError

_NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\.\w+$")


def read_cuhk03(root: Path, boxes: str = "detected", protocol: str = "new", split: int = 0,
                extract_to: str | Path | None = None) -> ReidDataset:
    """CUHK03 in any of its usual forms.

    - ``ROOT/cuhk-03.mat`` (or ``ROOT/cuhk03_release/cuhk-03.mat``): its pictures are written to
      ``images_detected``, ``images_labeled`` and its test sets to ``cuhk03_tests.json`` once (needs h5py);
    - ``ROOT/images_detected``, ``images_labeled`` with ``<pair>_<person>_<view>_<n>.png`` (``1_001_1_01.png``);
    - ``ROOT/detected``, ``ROOT/labeled``, each like Market-1501 (new protocol only).

    The new protocol (Zhong et al. 2017; 767 people to learn from, 700 to be asked about) needs
    ``cuhk03_new_protocol_config_detected.mat`` (or ``…labeled.mat``) in ``ROOT``. The classic one (1,367 and 100, 20
    splits) asks with every test picture among one random picture a person from the other view: protocol
    ``single_gallery_shot``.

    Args:
        root: the folder, or the one above (``cuhk03``).
        boxes: ``detected`` or ``labeled``.
        protocol: ``new`` or ``classic``.
        split: of the classic protocol, 0…19.
        extract_to: where to write what ``cuhk-03.mat`` holds; default: ``ROOT``.
    """
    boxes = "labeled" if boxes == "labelled" else boxes
    if boxes not in ("detected", "labeled") or protocol not in ("new", "classic"):
        raise ReidError(f"CUHK03: boxes '{boxes}' and protocol '{protocol}', expected detected or labeled, and new or "
                        "classic")
    folder = root / "cuhk03" if not _present(root) and _present(root / "cuhk03") else root
    if protocol == "new" and (folder / boxes / "bounding_box_train").is_dir():
        return read_like_market(folder / boxes, f"cuhk03-{boxes}", "CUHK03")
    target = folder if extract_to is None else Path(extract_to)
    target = folder if (folder / f"images_{boxes}").is_dir() else target
    mat = next((m for m in (folder / "cuhk-03.mat", folder / "cuhk03_release" / "cuhk-03.mat") if m.is_file()), None)
    missing = not (target / f"images_{boxes}").is_dir() or (
        protocol == "classic" and not (target / CLASSIC_TESTS).is_file())
    if missing:
        if mat is None:
            raise ReidError(_advice(folder, boxes, protocol))
        extract(mat, target)
    if protocol == "new":
        return _new(folder, target / f"images_{boxes}", boxes)
    return _classic(target, boxes, split)


def _present(folder: Path) -> bool:
    names = ("cuhk-03.mat", "cuhk03_release", "images_detected", "images_labeled", "detected", "labeled")
    return any((folder / name).exists() for name in names)


def _advice(folder: Path, boxes: str, protocol: str) -> str:
    if (folder / f"images_{boxes}").is_dir():
        return f"CUHK03: the classic protocol's test sets are in cuhk-03.mat, not in {folder}; or use protocol new"
    like_market = f", or {boxes} (like Market-1501)" if protocol == "new" else ""
    return (f"CUHK03: {folder} has no images_{boxes} and no cuhk-03.mat; --root must hold cuhk-03.mat, or "
            f"images_{boxes} with files like 1_001_1_01.png{like_market}")


def _new(folder: Path, pictures_in: Path, boxes: str) -> ReidDataset:
    """By the lists of the new protocol."""
    path = folder / f"cuhk03_new_protocol_config_{boxes}.mat"
    lists = _config(path)
    names = [str(np.ravel(cell)[0]) for cell in lists["filelist"].ravel()]
    pid, camid = (np.asarray(lists[key], np.int64).ravel() for key in ("labels", "camId"))
    if not len(names) == len(pid) == len(camid):
        raise ReidError(f"CUHK03: {path}: filelist, labels and camId differ in length")

    def part(key: str) -> Any:
        rows: Ints = np.asarray(lists[key], np.int64).ravel() - 1
        if len(rows) and (rows.min() < 0 or rows.max() >= len(names)):
            raise ReidError(f"CUHK03: {path}: {key} points outside filelist")
        return images_from(Named(pictures_in / names[i], int(pid[i]), int(camid[i]) - 1) for i in rows)

    return ReidDataset(f"cuhk03-{boxes}", part("train_idx"), part("query_idx"), part("gallery_idx"))


def _config(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise ReidError(f"CUHK03: there is no {path}; the new protocol needs it (or use protocol classic)")
    try:
        lists = loadmat(path)
    except (ValueError, NotImplementedError, MatReadError, OSError) as error:
        raise ReidError(f"CUHK03: {path} cannot be read: {error}") from error
    for key in ("filelist", "labels", "camId", "train_idx", "query_idx", "gallery_idx"):
        if key not in lists:
            raise ReidError(f"CUHK03: {path} has no '{key}'")
    return lists


def _classic(folder: Path, boxes: str, split: int) -> ReidDataset:
    """By one of the 20 test sets."""
    tests = json.loads((folder / CLASSIC_TESTS).read_text(encoding="utf-8"))
    if not 0 <= split < len(tests):
        raise ReidError(f"CUHK03: split is {split}, expected 0…{len(tests) - 1}")
    named = [_label(path) for path in pictures(folder / f"images_{boxes}", "CUHK03")]
    images = images_from(named)
    # people are numbered within their pair of cameras
    asked = np.isin(images.pid, [_pid(pair, person) for pair, person in tests[split]])
    test = images.take(asked)
    return ReidDataset(f"cuhk03-{boxes}-classic", images.take(~asked), test, test, protocol="single_gallery_shot")


def _pid(pair: int, person: int) -> int:
    return pair * 10000 + person


def _label(path: Path) -> Named:
    match = _NAME.match(path.name)
    if match is None:
        raise ReidError(f"CUHK03: {path} has a name unlike 1_001_1_01.png (pair_person_view_n)")
    return Named(path, _pid(int(match[1]), int(match[2])), int(match[3]) - 1)
