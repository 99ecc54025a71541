"""Datasets of people seen by several cameras: readers, decoding, samplers and augmentation.

``read_dataset("market1501", root)`` gives paths and labels; nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, cast

from reid_models.data.augment import Augment, AugmentOptions, normalise
from reid_models.data.images import load_images
from reid_models.data.samplers import PKSampler, RandomSampler
from reid_models.data.types import ReidDataset, ReidImages, join_datasets, keep_identities, relabel
from reid_models.errors import ReidError

__all__ = [
    "DATASETS", "Augment", "AugmentOptions", "PKSampler", "RandomSampler", "ReidDataset", "ReidImages",
    "join_datasets", "keep_identities", "load_images", "normalise", "read_dataset", "relabel",
]  # fmt: skip

DATASETS = {
    "market1501": "reid_models.data.market:read_market1501",
    "dukemtmc": "reid_models.data.market:read_dukemtmc",
    "msmt17": "reid_models.data.msmt:read_msmt17",
    "cuhk03": "reid_models.data.cuhk:read_cuhk03",
    "viper": "reid_models.data.viper:read_viper",
    "veri776": "reid_models.data.vehicles:read_veri776",
    "vehicleid": "reid_models.data.vehicles:read_vehicleid",
    "folder": "reid_models.data.folder:read_folder",
}
"""Name → ``module:reader``; each is called as ``reader(root, **options)``."""


def read_dataset(name: str, root: str | Path, **options: Any) -> ReidDataset:
    """Read a dataset's paths and labels.

    Args:
        name: a key of :data:`DATASETS`, or ``package.module:reader`` for one's own.
        root: its folder.
        options: those of the reader (see its docstring).

    Raises:
        ReidError: there is no such dataset or option, or the folder does not look as it must; one line that says
            what is missing and how it must look.
    """
    target = DATASETS.get(name, name if ":" in name else None)
    if target is None:
        near = get_close_matches(name, DATASETS, n=1, cutoff=0.5)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise ReidError(f"unknown ReID dataset '{name}'{hint}; known: {', '.join(DATASETS)}")
    module, _, attribute = target.partition(":")
    try:
        reader = cast(Callable[..., ReidDataset], getattr(import_module(module), attribute))
    except (ImportError, AttributeError, ValueError) as error:
        raise ReidError(f"dataset '{name}' cannot be read through {target}: {error}") from error
    known = [option for option in signature(reader).parameters if option != "root"]
    for option in options:
        if option not in known:
            raise ReidError(f"dataset '{name}' has no option '{option}'; it has: {', '.join(known) or 'none'}")
    folder = Path(root)
    if not folder.is_dir():
        raise ReidError(f"{name}: there is no folder {folder}")
    return reader(folder, **options)
