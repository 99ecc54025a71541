"""What a training learns from: the pictures of one or several datasets as one uint8 tensor on the device.

Decoding happens once, at the start. A mini-batch is then an index into this tensor, and augmentation runs where the
tensor lies, so that no loader stands between the pictures and the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from reid_models.batch import Target
from reid_models.errors import ReidError
from reid_models.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from reid_models.data import ReidDataset

Ints = NDArray[np.int64]


@dataclass
class TrainingSet:
    """Pictures to learn from, and what is known of them.

    Attributes:
        images: (n, 3, h, w) uint8 RGB on the device.
        pid: (n,) 0…C−1; −1 for generated pictures. On the CPU, for the sampler.
        camid: (n,) cameras, told apart across datasets.
        identities: C.
        attributes: (n, M) int64 on the device, −1 where unknown; or None.
        soft: (n,) rows of ``soft_table``, and the table (rows, classes); None where labels are one-hot.
        generated: (n,) bool; or None.
    """

    images: Tensor
    pid: Ints
    camid: Ints
    identities: int
    attributes: Tensor | None = None
    attribute_names: tuple[str, ...] = ()
    soft: Tensor | None = None
    soft_table: Tensor | None = None
    generated: Tensor | None = None

    def __post_init__(self) -> None:
        self._pid = torch.from_numpy(self.pid).to(self.images.device)
        self._camid = torch.from_numpy(self.camid).to(self.images.device)

    def __len__(self) -> int:
        return len(self.pid)

    def batch(self, rows: Ints) -> tuple[Tensor, Target]:
        """Pictures (uint8) and targets of some rows, on the device."""
        at = torch.from_numpy(np.ascontiguousarray(rows)).to(self.images.device)
        target = Target(self._pid[at], self._camid[at])
        if self.attributes is not None:
            target.attributes = self.attributes[at]
        if self.soft is not None and self.soft_table is not None:
            target.soft = self.soft_table[self.soft[at]]
        if self.generated is not None:
            target.generated = self.generated[at]
        return self.images[at], target

    def fingerprint(self) -> str:
        """Tells whether a resumed training sees the same pictures in the same order."""
        total = hashlib.sha256(np.array(self.images.shape, np.int64).tobytes() + self.pid.tobytes())
        total.update(self.images[:: max(1, len(self) // 64)].cpu().numpy().tobytes())
        return total.hexdigest()[:16]


def training_set(datasets: Sequence[ReidDataset], recipe: Recipe, device: torch.device,
                 threads: int = 4) -> TrainingSet:
    """Join the training parts of some datasets.

    Args:
        datasets: identities and cameras of different ones are different.
        recipe: ``data.identities`` is the share of the identities kept (a smaller share is part of a larger one),
            ``data.store_hw`` the size.
        device: where the pictures are to lie.
        threads: for decoding.

    Raises:
        ReidError: nothing to learn from, or attributes asked for that are not there.
    """
    from reid_models.data import join_datasets, keep_identities, load_images, relabel

    joined = join_datasets(datasets)
    names = joined.attribute_names
    if recipe.model.attributes and not names:
        raise ReidError(f"the recipe learns attributes, which {joined.name} has not; see 'model.attributes'")
    # a permutation of all people, of which the first are kept: a smaller share is part of a larger one
    kept = keep_identities(joined.train, recipe.data.identities, np.random.default_rng(recipe.seed))
    if not len(kept):
        raise ReidError(f"no training pictures in {joined.name}")
    pid, people = relabel(kept.pid)
    hw = recipe.data.store_hw or recipe.input_hw
    images = torch.from_numpy(load_images(kept, (hw[0], hw[1]), threads)).to(device)
    made = TrainingSet(images, pid, kept.camid, len(people))
    if recipe.model.attributes and kept.attributes is not None:
        made.attributes = torch.from_numpy(kept.attributes.astype(np.int64)).to(device)
        made.attribute_names = names
    return made


def with_generated(made: TrainingSet, pictures: NDArray[np.uint8], cluster: Ints, shares: NDArray[Any],
                   extra_classes: int) -> TrainingSet:
    """Add pictures made by networks, with the partial labels of their clusters.

    Args:
        made: real pictures.
        pictures: (m, 3, h, w) uint8 RGB of the same size.
        cluster: (m,) which row of ``shares`` is each one's label.
        shares: (K, C) distributions over identities.
        extra_classes: columns of zeros to append (see ``reid_models.losses.extra_classes``).
    """
    device, count = made.images.device, made.identities
    table = np.zeros((count + len(shares), count + extra_classes), np.float32)
    table[:count, :count] = np.eye(count)
    table[count:, :count] = shares
    fake = len(pictures)
    attributes = made.attributes
    if attributes is not None:  # nobody knows what generated people wear
        attributes = torch.cat([attributes, attributes.new_full((fake, attributes.shape[1]), -1)])
    return replace(
        made, images=torch.cat([made.images, torch.from_numpy(pictures).to(device)]),
        pid=np.concatenate([made.pid, np.full(fake, -1, np.int64)]),
        camid=np.concatenate([made.camid, np.full(fake, -1, np.int64)]), attributes=attributes,
        soft=torch.from_numpy(np.concatenate([made.pid, count + cluster])).to(device),
        soft_table=torch.from_numpy(table).to(device),
        generated=torch.arange(len(made) + fake, device=device) >= len(made))
