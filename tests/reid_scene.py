"""A tiny generated dataset in Market-1501's layout: people of coloured stripes, seen by cameras with colour casts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_COLUMNS = (
    "age", "backpack", "bag", "handbag", "downblack", "downblue", "downbrown", "downgray", "downgreen", "downpink",
    "downpurple", "downwhite", "downyellow", "upblack", "upblue", "upgreen", "upgray", "uppurple", "upred", "upwhite",
    "upyellow", "clothes", "down", "up", "hair", "hat", "gender",
)  # fmt: skip
"""The 27 columns of the true annotation's training half."""


def make_market(root: Path, *, identities: int = 24, cameras: int = 4, images: int = 2, seed: int = 0,
                hw: tuple[int, int] = (64, 32)) -> Path:
    """Write the dataset into ``root`` and return it.

    Half of the people (those with even pids, 2, 4, …) are to learn from, the others to be asked about. Each camera
    shows each of them ``images`` times; of the tested ones, one more picture a camera is a query. The gallery has
    four distractors (pid 0000) and two junk pictures (−1). ``market_attribute.mat`` holds answers that can be seen:
    backpack, the colour of the coat (upred, upgreen, upblue), hat, long trousers; the others are always 1.
    """
    import cv2

    rng = np.random.default_rng(seed)
    people = [_Person(rng) for _ in range(identities)]
    lights = [(rng.uniform(0.8, 1.15, 3), rng.uniform(60, 190, 3)) for _ in range(cameras)]
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    number = 0

    def write(folder: str, pid: int, person: _Person, camera: int) -> None:
        nonlocal number
        number += 1
        name = f"{pid:04d}" if pid >= 0 else str(pid)
        path = root / folder / f"{name}_c{camera + 1}s1_{number:06d}_01.jpg"
        cv2.imwrite(str(path), person.seen(rng, *lights[camera], hw), [cv2.IMWRITE_JPEG_QUALITY, 95])

    for pid, person in enumerate(people, 1):
        for camera in range(cameras):
            for _ in range(images):
                write("bounding_box_test" if pid % 2 else "bounding_box_train", pid, person, camera)
            if pid % 2:
                write("query", pid, person, camera)
    for k in range(6):
        write("bounding_box_test", 0 if k < 4 else -1, _Person(rng), k % cameras)
    _write_attributes(root / "market_attribute.mat", people)
    return root


class _Person:
    """Head, coat, legs and shoes of random colours, a pattern on the coat, perhaps a backpack and a hat."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.coat, self.legs, self.shoes = rng.uniform(20, 235, (3, 3))
        self.skin = np.array([120, 160, 210]) * rng.uniform(0.5, 1.1)
        self.stripes = int(rng.integers(0, 4))
        self.second = rng.uniform(20, 235, 3)
        self.backpack, self.hat, self.shorts = rng.random(3) < (0.4, 0.3, 0.3)
        self.bag_colour = rng.uniform(20, 235, 3)

    def seen(self, rng: np.random.Generator, gain: np.ndarray, backdrop: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
        """One view, (h, w, 3) uint8 BGR: moved a little, noisy, with the camera's light and background."""
        h, w = hw
        y, x = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
        picture = np.empty((h, w, 3))
        picture[:] = backdrop + 25 * np.sin(9 * x + rng.uniform(0, 6))[..., None]
        y, x = y + rng.uniform(-0.03, 0.03), x + rng.uniform(-0.06, 0.06)
        for top, bottom, half, colour in self._parts():
            picture[(y >= top) & (y < bottom) & (np.abs(x - 0.5) < half)] = colour
        coat = (y >= 0.18) & (y < 0.52) & (np.abs(x - 0.5) < 0.3)
        if self.stripes:
            picture[coat & (np.floor((y - 0.18) * 12 * self.stripes) % 2 == 1)] = self.second
        if self.backpack:
            picture[(y >= 0.22) & (y < 0.44) & (x > 0.66) & (x < 0.9)] = self.bag_colour
        picture = picture * gain * rng.uniform(0.9, 1.1) + rng.normal(0, 4, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _parts(self) -> list[tuple[float, float, float, np.ndarray]]:
        """(top, bottom, half width, colour) from the head down."""
        return [
            (0.02, 0.08, 0.14, self.second if self.hat else self.skin * 0.3), (0.08, 0.18, 0.12, self.skin),
            (0.18, 0.52, 0.3, self.coat), (0.52, 0.92, 0.22, self.skin if self.shorts else self.legs),
            (0.52, 0.66, 0.22, self.legs), (0.92, 0.98, 0.24, self.shoes),
        ]  # fmt: skip

    def answers(self) -> dict[str, int]:
        """The attributes that can be seen, 1 or 2."""
        colour = ("upblue", "upgreen", "upred")[int(np.argmax(self.coat))]
        return {"backpack": 1 + int(self.backpack), "hat": 1 + int(self.hat), "down": 1 + int(self.shorts), colour: 2}


def _write_attributes(path: Path, people: list[_Person]) -> None:
    from scipy.io import savemat

    halves = {}
    for half, start in (("train", 2), ("test", 1)):
        pids = range(start, len(people) + 1, 2)
        rows = [people[pid - 1].answers() for pid in pids]
        halves[half] = {name: np.array([[row.get(name, 1) for row in rows]], np.uint8) for name in _COLUMNS}
        halves[half]["image_index"] = np.array([f"{pid:04d}" for pid in pids], object)[None]
    savemat(path, {"market_attribute": halves})
