"""MSMT17 (Wei et al. 2018): 4,101 people in 15 cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reid_models.data.layout import Named, images_from, lines, need_folders
from reid_models.data.market import read_like_market
from reid_models.data.types import ReidDataset, ReidImages
from reid_models.errors import ReidError

_FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
_LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")


def read_msmt17(root: Path, validation: bool = True) -> ReidDataset:
    """MSMT17 as its authors give it (version 1 or 2), or rearranged like Market-1501.

    - ``ROOT/train``, ``ROOT/test`` (version 2: ``mask_train_v2``, ``mask_test_v2``) with
      ``<pid>/<pid>_<n>_<camera>_….jpg``, and ``list_train.txt``, ``list_val.txt``, ``list_query.txt``,
      ``list_gallery.txt``, of lines ``0000/0000_000_01_0303morning_0008_0.jpg 0``; or
    - ``ROOT/bounding_box_train``, ``query``, ``bounding_box_test``.

    Args:
        root: the folder, or the one above (``MSMT17_V1``, ``MSMT17_V2``).
        validation: train on the validation part as well (32,621 pictures, as the dataset's paper counts), or only
            on the rest (30,248).
    """
    for folder in (root, root / "MSMT17_V1", root / "MSMT17_V2", root / "MSMT17"):
        if (folder / "bounding_box_train").is_dir():
            return read_like_market(folder, "msmt17", "MSMT17")
        for train, test in _FOLDERS:
            if (folder / train).is_dir() and (folder / _LISTS[0]).is_file():
                need_folders(folder, "MSMT17", (train, test, *_LISTS))
                learned = _LISTS[:2] if validation else _LISTS[:1]
                return ReidDataset("msmt17", _read(folder, train, learned), _read(folder, test, _LISTS[2:3]),
                                   _read(folder, test, _LISTS[3:]))
    raise ReidError(f"MSMT17: {root} has no train with list_train.txt, no mask_train_v2 with list_train.txt and no "
                    f"bounding_box_train; --root must hold train, test (or mask_train_v2, mask_test_v2) and "
                    f"{', '.join(_LISTS)}")


def _read(root: Path, folder: str, lists: tuple[str, ...]) -> ReidImages:
    return images_from(picture for name in lists for picture in _listed(root / name, root / folder))


def _listed(path: Path, folder: Path) -> Iterator[Named]:
    for i, line in lines(path, "MSMT17"):
        name, _, pid = line.rpartition(" ")
        parts = name.rsplit("/", 1)[-1].split("_")
        if not pid.isdigit() or len(parts) < 4 or not parts[2].isdigit():
            raise ReidError(f"MSMT17: {path}, line {i}: expected '0000/0000_000_01_….jpg 0', found '{line[:80]}'")
        yield Named(folder / name, int(pid), int(parts[2]) - 1)
