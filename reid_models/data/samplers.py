"""Which pictures make a batch. All chance comes from the generator that is passed: the same one, the same epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_models.errors import ReidError

Ints = NDArray[np.int64]


class RandomSampler:
    """Every picture once an epoch, in random order."""

    def __init__(self, n: int, batch: int, last: str = "drop") -> None:
        """Sample batches of ``batch`` out of ``n`` pictures.

        Args:
            n: pictures.
            batch: pictures in a batch.
            last: what becomes of the pictures that do not fill the last batch: ``drop`` them (others each epoch),
                ``keep`` them as a smaller one, or ``fill`` it up with pictures drawn a second time.

        Raises:
            ReidError: options that cannot be.
        """
        if last not in ("drop", "keep", "fill"):
            raise ReidError(f"sampler: last is '{last}', expected drop, keep or fill")
        if batch < 1 or n < 1:
            raise ReidError(f"sampler: {n} pictures in batches of {batch}; both must be at least 1")
        if last == "drop" and n < batch:
            raise ReidError(f"sampler: {n} pictures do not fill one batch of {batch}; use a smaller batch or last=fill")
        self.n, self.batch, self.last = n, batch, last

    def __len__(self) -> int:
        return self.n // self.batch if self.last == "drop" else -(-self.n // self.batch)

    def epoch(self, rng: np.random.Generator) -> Iterator[Ints]:
        """The batches of one epoch, each an array of picture numbers."""
        order = rng.permutation(self.n)
        missing = len(self) * self.batch - self.n
        if self.last == "fill" and missing > 0:
            order = np.concatenate([order, rng.choice(self.n, missing, replace=missing > self.n)])
        for start in range(len(self)):
            yield order[start * self.batch : (start + 1) * self.batch].astype(np.int64)


class PKSampler:
    """P people with K pictures each, in every batch (Hermans et al. 2017).

    An epoch counts by pictures (``per="images"``): each person's pictures are dealt into hands of K, and the hands
    into batches of P different people, as many batches as that allows; what does not fit is left out, by chance, and
    has its turn in another epoch. With ``per="identities"`` everybody has one hand an epoch. A person with fewer
    than K pictures gets all of them, and some twice.
    """

    def __init__(self, pid: ArrayLike, p: int, k: int, *, per: str = "images", camid: ArrayLike | None = None,
                 one_camera_half: bool = False) -> None:
        """Sample from people ``pid`` (n,); pictures of nobody (negative) are never drawn.

        Args:
            pid: (n,) identities.
            p, k: people in a batch, and pictures of each.
            per: ``images`` or ``identities``.
            camid: (n,) cameras, needed for ``one_camera_half``.
            one_camera_half: half of every batch (⌊P/2⌋ of the people) comes from one camera, another one from batch
                to batch: strangers there look alike in light and background, so that these do not help.

        Raises:
            ReidError: options that cannot be, or too few people.
        """
        self.pid = np.asarray(pid, np.int64)
        if per not in ("images", "identities"):
            raise ReidError(f"sampler: per is '{per}', expected images or identities")
        if p < 1 or k < 1:
            raise ReidError(f"sampler: {p} people with {k} pictures each; both must be at least 1")
        order = np.argsort(self.pid, kind="stable")
        order = order[np.searchsorted(self.pid[order], 0) :]
        known, first = np.unique(self.pid[order], return_index=True)
        if len(known) < p:
            raise ReidError(f"sampler: {len(known)} people, {p} are needed for a batch; use a smaller p")
        self.p, self.k, self.per = p, k, per
        self._images = np.split(order, first[1:])
        counts = np.array([len(rows) for rows in self._images])
        self._hands = np.maximum(counts // k, 1) if per == "images" else np.ones(len(known), np.int64)
        self._batches = most_batches(self._hands, p)
        self._cameras = self._by_camera(camid) if one_camera_half else []

    def _by_camera(self, camid: ArrayLike | None) -> list[tuple[float, dict[int, Ints]]]:
        """For each camera: its weight, and the pictures it has of each person."""
        if camid is None or np.shape(camid) != self.pid.shape:
            raise ReidError(f"sampler: one_camera_half needs camid of shape {self.pid.shape}")
        camid = np.asarray(camid)
        if self.p < 2:
            raise ReidError("sampler: one_camera_half needs at least 2 people in a batch")
        cameras = []
        for camera in np.unique(camid[self.pid >= 0]):
            people = {i: rows[camid[rows] == camera] for i, rows in enumerate(self._images)
                      if (camid[rows] == camera).any()}
            if len(people) >= self.p // 2:
                cameras.append((float(sum(map(len, people.values()))), people))
        if not cameras:
            raise ReidError(f"sampler: no camera shows {self.p // 2} people; use a smaller p or no one_camera_half")
        return cameras

    def __len__(self) -> int:
        return self._batches

    @property
    def batch(self) -> int:
        """Pictures in a batch."""
        return self.p * self.k

    def epoch(self, rng: np.random.Generator) -> Iterator[Ints]:
        """The batches of one epoch: arrays of P·K picture numbers, the K of one person side by side."""
        hands = [_deal(rows, count, self.k, rng) for rows, count in zip(self._images, self._hands, strict=True)]
        left = _cut(self._hands, self.p, self._batches, rng)
        for remaining in range(self._batches, 0, -1):
            people = _draw(left, self.p, remaining, rng)
            left[people] -= 1
            # another epoch that leaves some hands out begins with other ones: they were dealt from a shuffled pack
            batch = [hands[i][left[i]] for i in people.tolist()]
            if self._cameras:
                batch[: self.p // 2] = self._from_one_camera(people[self.p // 2 :], rng)
            yield np.concatenate(batch)

    def _from_one_camera(self, others: Ints, rng: np.random.Generator) -> list[Ints]:
        """Hands of ⌊P/2⌋ people, not among ``others``, all from one camera (fewer from it where it has no more)."""
        weights = np.array([weight for weight, _ in self._cameras])
        _, people = self._cameras[rng.choice(len(weights), p=weights / weights.sum())]
        free = np.setdiff1d(np.fromiter(people, np.int64), others)
        chosen = rng.permutation(free)[: self.p // 2]
        missing = self.p // 2 - len(chosen)
        strangers = np.setdiff1d(np.arange(len(self._images)), np.concatenate([others, chosen]))
        extra = rng.permutation(strangers)[:missing]
        packs = [people[i] for i in chosen.tolist()] + [self._images[i] for i in extra.tolist()]
        return [_deal(pack, 1, self.k, rng)[0] for pack in packs]


def most_batches(hands: Ints, p: int) -> int:
    """How many batches of p different people can be dealt: the largest b with Σ min(hands, b) ≥ p·b."""
    low, high = 0, int(hands.sum()) // p
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(hands, middle).sum() >= p * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _deal(rows: Ints, count: int, k: int, rng: np.random.Generator) -> Ints:
    """(count, k) of the pictures in random order; where there are fewer than k, all of them and some again."""
    pack = rng.permutation(rows)
    if len(pack) < k:
        pack = np.concatenate([np.tile(pack, k // len(pack)), rng.permutation(pack)[: k % len(pack)]])
    return pack[: count * k].reshape(count, k)


def _cut(hands: Ints, p: int, batches: int, rng: np.random.Generator) -> Ints:
    """Leave out hands by chance until p·batches remain and nobody has more than there are batches."""
    left = np.minimum(hands, batches)
    owners = rng.permutation(np.repeat(np.arange(len(left)), left))[: int(left.sum()) - p * batches]
    return left - np.bincount(owners, minlength=len(left))


def _draw(left: Ints, p: int, remaining: int, rng: np.random.Generator) -> Ints:
    """P people for one of the ``remaining`` batches, likelier the more hands they have left.

    Who has a hand for every batch that remains has to be in this one; so it always comes out even.
    """
    must = left == remaining
    with np.errstate(divide="ignore"):
        # weighted drawing without putting back: the smallest of exponential variables with these rates
        key = np.where(must, -1.0, rng.exponential(size=len(left)) / left)
    chosen = np.argpartition(key, p - 1)[:p] if p < len(key) else np.arange(len(key))
    return rng.permutation(chosen).astype(np.int64)
