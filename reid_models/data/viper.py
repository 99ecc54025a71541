"""VIPeR (Gray et al. 2007): 632 people, one picture in each of two views."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reid_models.data.layout import Named, images_from, need_folders, pictures
from reid_models.data.types import ReidDataset, ReidImages
from reid_models.errors import ReidError


def read_viper(root: Path, split: int = 0, seed: int = 0) -> ReidDataset:
    """VIPeR: ``ROOT/cam_a``, ``ROOT/cam_b``; files ``000_45.bmp`` (person, angle).

    Half of the people, by chance, are to learn from; of the others view a asks and view b answers. Figures are means
    over ten splits or more.

    Args:
        root: the folder, or the one above (``VIPeR``).
        split: which random division, 0, 1, …; −1: everybody is asked about, for embedders that learnt elsewhere
            (scored on random halves: protocol ``random_halves``).
        seed: of the series of divisions.
    """
    folder = root / "VIPeR" if not (root / "cam_a").is_dir() and (root / "VIPeR").is_dir() else root
    need_folders(folder, "VIPeR", ("cam_a", "cam_b"))
    views = [_view(folder / name, camid) for camid, name in enumerate(("cam_a", "cam_b"))]
    people = np.intersect1d(views[0].pid, views[1].pid)
    if not len(people):
        raise ReidError(f"VIPeR: nobody is both in {folder / 'cam_a'} and in {folder / 'cam_b'}")
    if split < 0:
        asked, learned = people, people[:0]
    else:
        order = np.random.default_rng([seed, split]).permutation(people)
        asked, learned = order[: len(people) // 2], order[len(people) // 2 :]
    query, gallery = (view.take(np.isin(view.pid, asked)) for view in views)
    first, second = (view.take(np.isin(view.pid, learned)) for view in views)
    train = ReidImages((*first.paths, *second.paths), np.concatenate([first.pid, second.pid]),
                       np.concatenate([first.camid, second.camid]))
    return ReidDataset("viper", train, query, gallery, protocol="random_halves" if split < 0 else "standard")


def _view(folder: Path, camid: int) -> ReidImages:
    def label(path: Path) -> Named:
        pid = path.name.split("_", 1)[0]
        if not pid.isdigit():
            raise ReidError(f"VIPeR: {path} has a name unlike 000_45.bmp (person_angle)")
        return Named(path, int(pid), camid)

    return images_from(label(path) for path in pictures(folder, "VIPeR"))
