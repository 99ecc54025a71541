"""A re-identification data set in Market-1501's layout: who is seen by which camera, the files, the attributes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mctrack.errors import ConfigError, OutputError
from mctrack.synth.reid.cameras import CameraStyle, sample_camera
from mctrack.synth.reid.crops import render_crop
from mctrack.synth.reid.people import Drawable, People, open_people
from mctrack.synth.reid.places import Place, is_indoor, sample_place

Progress = Callable[[int, int], None]
"""Called with the pictures done and the pictures in all."""

CAMERAS_A_PLACE = 3
PASSERS_BY = 16
HELD_OUT = 0.2
"""Share of the cameras (and places) that only test identities are seen by."""


@dataclass(frozen=True)
class Recipe:
    """What to make. ``people`` as of `people.open_people`; ``test``: share of identities kept for query and gallery.

    ``new_cameras``: that many more stand in places of training, and only test identities are seen by them.
    """

    identities: int
    cameras: int
    images: int
    seed: int
    people: str = "parametric"
    test: float = 0.1
    new_cameras: int = 0

    def check(self) -> None:
        """Raise a ConfigError where a number makes no sense."""
        if not 2 <= self.identities <= 99999:
            raise ConfigError(f"--identities: {self.identities} is not in 2…99999")
        if not 2 <= self.cameras <= 9999:
            raise ConfigError(f"--cameras: {self.cameras} is not in 2…9999")
        if not 2 <= self.images <= 999:
            raise ConfigError(f"--images: {self.images} is not in 2…999 (pictures of each identity)")
        if self.seed < 0:
            raise ConfigError(f"--seed: {self.seed} is negative")
        if not 0 <= self.test < 1:
            raise ConfigError(f"--test: {self.test:g} is not in 0…1")
        if self.new_cameras and not (2 <= self.new_cameras <= 9999 - self.cameras and self.test > 0):
            raise ConfigError(f"--new-cameras: {self.new_cameras} is not in 2…{9999 - self.cameras}, or --test is 0")


@dataclass(frozen=True)
class Picture:
    """One file to be: identity (0-based), camera (0-based), number among the identity's pictures, folder."""

    identity: int
    camera: int
    number: int
    folder: str

    @property
    def name(self) -> str:
        """Market-1501's file name: identity, camera and sequence, frame, box."""
        return f"{self.identity + 1:04d}_c{self.camera + 1}s1_{self.number:06d}_01.jpg"


class Plan:
    """Cameras, places and who is seen where; nothing but the recipe decides it."""

    def __init__(self, recipe: Recipe) -> None:
        recipe.check()
        self.recipe = recipe
        self.places = max((recipe.cameras + CAMERAS_A_PLACE - 1) // CAMERAS_A_PLACE, 1)
        # The last places are held out, with all their cameras, where there are enough of them.
        held = round(self.places * HELD_OUT) * CAMERAS_A_PLACE if self.places >= 5 and recipe.test > 0 else 0
        self.seen = recipe.cameras - min(held, recipe.cameras - 2)
        self.train = recipe.identities - round(recipe.identities * recipe.test)

    def camera(self, index: int) -> CameraStyle:
        """Style of the camera with number ``index`` + 1."""
        place, more = index // CAMERAS_A_PLACE, index - self.recipe.cameras
        if more >= 0:
            place = more % max(self.seen // CAMERAS_A_PLACE, 1)
        indoor = is_indoor(np.random.default_rng([self.recipe.seed, 4, place]))
        return sample_camera(index + 1, place, indoor, np.random.default_rng([self.recipe.seed, 2, index]))

    def split(self, identity: int) -> str:
        """``train``, or ``test`` where the cameras are those of training.

        ``test-held-out``: cameras and places never trained on; ``test-new-cameras``: new cameras in places of training.
        """
        if identity < self.train:
            return "train"
        held, new = self.seen < self.recipe.cameras, self.recipe.new_cameras > 0
        kinds = ["test", *["test-held-out"] * held, *["test-new-cameras"] * new]
        return kinds[identity % len(kinds)]

    def pictures(self, identity: int) -> list[Picture]:
        """The pictures of an identity: evenly over a few cameras of its split, several by each."""
        r = self.recipe
        rng = np.random.default_rng([r.seed, 3, identity])
        split = self.split(identity)
        pool = {"test-held-out": np.arange(self.seen, r.cameras),
                "test-new-cameras": r.cameras + np.arange(r.new_cameras)}.get(split, np.arange(self.seen))  # fmt: skip
        count = int(np.clip(r.images // 3, 2, min(len(pool), 12)))
        cameras = np.resize(np.sort(rng.choice(pool, count, replace=False)), r.images)
        cameras.sort()
        out = []
        for number, camera in enumerate(cameras.tolist()):
            first = number == 0 or cameras[number - 1] != camera
            folder = "bounding_box_train" if split == "train" else ("query" if first else "bounding_box_test")
            out.append(Picture(identity, camera, number, folder))
        return out


@lru_cache(maxsize=128)
def place_at(seed: int, number: int) -> Place:
    """The place with this number; kept, for its cameras see many people."""
    return sample_place(np.random.default_rng([seed, 4, number]))


class _Studio:
    """What a process keeps between identities."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.plan, self.out = Plan(recipe), out
        self.people: People = open_people(recipe.people, recipe.seed)
        self._crowd: list[Drawable] | None = None

    def crowd(self) -> list[Drawable]:
        """People without an identity in the data set, who pass by."""
        if self._crowd is None:
            self._crowd = [self.people.figure(1_000_001 + 10 * k) for k in range(PASSERS_BY)]
        return self._crowd

    def make(self, identity: int) -> int:
        """Write what is missing of an identity's pictures; how many there are now."""
        pictures = self.plan.pictures(identity)
        missing = [p for p in pictures if not (self.out / p.folder / p.name).is_file()]
        if missing:
            figure = self.people.figure(identity)
            for picture in missing:
                self._write(figure, picture)
        return len(pictures)

    def _write(self, figure: Drawable, p: Picture) -> None:
        camera = self.plan.camera(p.camera)
        seed = self.plan.recipe.seed
        rng = np.random.default_rng([seed, 5, p.identity, p.camera, p.number])
        picture = render_crop(figure, self.crowd(), camera, place_at(seed, camera.place), rng)
        quality = 95 if camera.h264_crf else camera.quality
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        path = self.out / p.folder / p.name
        part = path.with_suffix(".part")
        part.write_bytes(data.tobytes())
        os.replace(part, path)


_studio: _Studio | None = None


def _enter(recipe: Recipe, out: Path) -> None:
    """Set up a worker process."""
    global _studio
    cv2.setNumThreads(1)
    _studio = _Studio(recipe, out)


def _work(identity: int) -> int:
    assert _studio is not None
    return _studio.make(identity)


def generate(recipe: Recipe, out: Path, workers: int = 1, progress: Progress | None = None) -> Plan:
    """Write the data set into ``out``, or what is missing of it after an interruption.

    Raises:
        ConfigError: numbers out of range, or ``out`` holds a data set of another recipe.
        OutputError: the folder cannot be written.
    """
    plan = Plan(recipe)
    open_people(recipe.people, recipe.seed)  # so that a wrong folder is told before anything is written
    try:
        _claim(recipe, out)
        done, total = 0, recipe.identities * recipe.images
        for count in _all(recipe, out, workers):
            done += count
            if progress is not None:
                progress(done, total)
        _describe(plan, out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    return plan


def _all(recipe: Recipe, out: Path, workers: int) -> Iterator[int]:
    if workers <= 1:
        studio = _Studio(recipe, out)
        yield from (studio.make(k) for k in range(recipe.identities))
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _enter, (recipe, out))
    with pool:
        yield from pool.map(_work, range(recipe.identities), chunksize=4)


def _claim(recipe: Recipe, out: Path) -> None:
    """Create the folders; refuse a folder of another recipe. The assets' place may differ, not their kind."""
    mine = {**asdict(recipe), "people": recipe.people.split(":")[0]}
    note = out / "recipe.json"
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{note} cannot be read; delete the folder or choose another --out") from error
        found = {"new_cameras": 0, **found}  # folders of earlier versions do not name it
        differing = [k for k in mine if found.get(k) != mine[k]]
        if differing:
            k = differing[0]
            raise ConfigError(f"{out} holds a data set with {k} {found.get(k)}, not {mine[k]}; choose another --out")
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")


def _describe(plan: Plan, out: Path) -> None:
    """Cameras, people, attributes and a README beside the pictures."""
    from mctrack.synth.reid.attributes import readme, write_attributes

    people = open_people(plan.recipe.people, plan.recipe.seed)
    known: list[dict[str, Any]] = []
    attributes: list[dict[str, int]] = []
    for k in range(plan.recipe.identities):
        description, marks = people.describe(k)
        seen = sorted({p.camera + 1 for p in plan.pictures(k)})
        known.append({"pid": k + 1, "split": plan.split(k), "cameras": seen, **description})
        attributes.append(marks)
    cameras = [plan.camera(k) for k in range(plan.recipe.cameras + plan.recipe.new_cameras)]
    (out / "people.json").write_text(json.dumps(known) + "\n", encoding="utf-8")
    styles = [{**c.to_dict(), "held_out": c.camid > plan.seen} for c in cameras]
    (out / "cameras.json").write_text(json.dumps(styles, indent=1) + "\n", encoding="utf-8")
    write_attributes(out, attributes, plan.train)
    (out / "README.md").write_text(readme(plan.recipe, plan.train, plan.seen, plan.places), encoding="utf-8")
