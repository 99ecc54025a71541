"""Background subtraction on drawn scenes: who is where is known to the pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from mctrack import boxes
from mctrack.config import DetectConfig
from mctrack.detect.heights import HeightModel
from mctrack.detect.subtraction import BackgroundDetector
from mctrack.types import Detections, Frame

FPS = 10.0
SIZE = (320, 240)


class Scene:
    """A textured room of (width, height) with a floor on which people get smaller towards row ``horizon``."""

    def __init__(self, size: tuple[int, int] = SIZE, noise: float = 2.0, seed: int = 0) -> None:
        self.size = size
        self.rng = np.random.default_rng(seed)
        coarse = self.rng.integers(90, 170, (size[1] // 12, size[0] // 12, 3)).astype(np.uint8)
        self.empty = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        self.light = 1.0
        self.grain = [self.rng.normal(0, noise, self.empty.shape).astype(np.float32) for _ in range(12)]

    def height_at(self, foot: float) -> float:
        """Height of a person in pixels."""
        return 0.45 * foot - 10 * self.size[1] / 240

    def person(self, x: float, foot: float, step: int = 0) -> np.ndarray:
        """``xyxy`` of a person with the feet at (x, foot)."""
        height = self.height_at(foot)
        half = height * (0.17 + 0.03 * np.cos(step * 0.7))
        return np.array([x - half, foot - height, x + half, foot])

    def draw(self, people: list[np.ndarray], shade: float = 1.0) -> np.ndarray:
        """A picture: everyone with head, coat and trousers; ``shade`` < 1 adds a shadow to the right of each."""
        picture = self.empty.copy()
        for box in people:
            height, width = box[3] - box[1], box[2] - box[0]
            if shade < 1:
                area = np.zeros(self.size[::-1], np.uint8)
                centre = (int(box[2] + 0.3 * height), int(box[3] - 0.03 * height))
                cv2.ellipse(area, centre, (int(0.45 * height), max(int(0.05 * height), 1)), 0, 0, 360, 1, -1)
                picture[area > 0] *= shade
        for k, box in enumerate(people):
            height, width = box[3] - box[1], box[2] - box[0]
            coat, trousers = ((40, 40, 200), (90, 40, 30)) if k % 2 == 0 else ((200, 190, 30), (20, 20, 25))
            left, right = box[0], box[2]
            middle = (left + right) / 2
            head = (int(middle), int(box[1] + 0.075 * height))
            cv2.rectangle(picture, (int(left), int(box[1] + 0.14 * height)), (int(right), int(box[1] + 0.55 * height)),
                          coat, -1)
            for at in (left + 0.25 * width, right - 0.25 * width):
                cv2.rectangle(picture, (int(at - 0.2 * width), int(box[1] + 0.55 * height)),
                              (int(at + 0.2 * width), int(box[3]) - 1), trousers, -1)
            cv2.ellipse(picture, head, (max(int(0.26 * width), 1), int(0.08 * height)), 0, 0, 360, (60, 80, 120), -1)
        picture = picture * self.light + self.grain[self.rng.integers(12)]
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def frame(index: int, image: np.ndarray | None, camera: str = "a", size: tuple[int, int] = SIZE) -> Frame:
    return Frame(camera, index, index / FPS, image, size)


def walk(scene: Scene, index: int, phase: float = 0.0) -> np.ndarray:
    """Somebody who walks to and fro across the room, nearer and farther."""
    width, height = scene.size
    x = width * (0.5 + 0.38 * np.sin(index / 23 + phase))
    foot = height * (0.72 + 0.18 * np.sin(index / 37 + 2 * phase))
    return scene.person(x, foot, index)


def run(detector: BackgroundDetector, scene: Scene, pictures: Iterator[list[np.ndarray]], start: int = 0,
        **draw: Any) -> Iterator[tuple[list[np.ndarray], Detections]]:
    for i, people in enumerate(pictures, start):
        yield people, detector.detect([frame(i, scene.draw(people, **draw), size=scene.size)])[0]


def make(**config: Any) -> BackgroundDetector:
    options = config.pop("options", {})
    return BackgroundDetector(DetectConfig(**config), [], "auto", **options)


def hits(people: list[np.ndarray], found: Detections, score: float = 0.5) -> tuple[int, int]:
    """(people found, boxes that are nobody)."""
    box = found.xyxy[found.score >= score]
    overlap = boxes.iou(np.array(people).reshape(-1, 4), box) >= 0.5
    return int(overlap.any(axis=1).sum()), int((~overlap.any(axis=0)).sum())


def tally(results: Iterator[tuple[list[np.ndarray], Detections]], skip: int, score: float = 0.5) -> tuple[float, float]:
    """Recall, and boxes that are nobody per picture, after the first ``skip`` pictures."""
    found = people_count = wrong = pictures = 0
    for i, (people, detections) in enumerate(results):
        if i >= skip:
            good, bad = hits(people, detections, score)
            found, wrong, pictures, people_count = found + good, wrong + bad, pictures + 1, people_count + len(people)
    return found / max(people_count, 1), wrong / pictures


def test_people_who_walk_are_found_with_high_scores() -> None:
    scene = Scene()
    recall, wrong = tally(run(make(), scene, ([walk(scene, i), walk(scene, i, 2.0)] for i in range(180))), 30, 0.7)
    assert recall > 0.85
    assert wrong < 0.1


def test_scene_that_was_never_empty() -> None:
    """Somebody is there from the first picture on and leaves a ghost: it must go soon."""
    scene = Scene()
    first = scene.person(160, 180)
    pictures = [[scene.person(160 + 4.0 * max(i - 5, 0), 180, i)] if i < 45 else [] for i in range(80)]
    for i, (people, found) in enumerate(run(make(), scene, iter(pictures))):
        if i > 35:
            ghost = boxes.iou(first[None], found.xyxy)
            assert not (ghost > 0.3).any(), f"ghost in picture {i}"
        if 20 < i < 40:
            assert hits(people, found) == (1, 0)


def test_somebody_who_stands_still_is_kept_for_minutes() -> None:
    scene, detector = Scene(), make()
    for _ in run(detector, scene, ([walk(scene, i)] for i in range(100))):
        pass
    person, seen = walk(scene, 100), []
    for i in range(240):  # two minutes
        found = detector.detect([Frame("a", 100 + i, 10 + i / 2, scene.draw([person]), SIZE)])[0]
        seen.append(hits([person], found)[0])
    assert np.mean(seen) > 0.97


def test_what_is_no_person_becomes_scene() -> None:
    scene, detector = Scene(), make(options={"scene_hold_s": 10.0})
    counts = []
    for i in range(200):
        picture = scene.draw([])
        if i >= 40:
            picture[150:190, 60:220] = (30, 180, 60)  # a bench is put down
        counts.append(len(detector.detect([frame(i, picture)])[0]))
    assert max(counts[40:100]) >= 1
    assert sum(counts[170:]) == 0


def test_noise_is_nobody() -> None:
    scene = Scene(noise=9.0)
    for i, (_, found) in enumerate(run(make(), scene, ([] for _ in range(80)))):
        assert i < 5 or len(found) == 0


@pytest.mark.parametrize("sudden", [False, True])
def test_light_changes_are_nobody(sudden: bool) -> None:
    scene, detector = Scene(), make()
    wrong = []
    for i in range(160):
        if i >= 60:
            scene.light = 0.7 if sudden else max(1 - 0.01 * (i - 60), 0.6)
        people = [walk(scene, i)]
        found = detector.detect([frame(i, scene.draw(people))])[0]
        good, bad = hits(people, found)
        if i >= 40:
            wrong.append(bad)
            if i >= 75:
                assert good == 1, f"lost in picture {i}"
    assert np.mean(wrong) < 0.1


def test_another_scene_at_once_is_no_crowd() -> None:
    scene, other, detector = Scene(), Scene(seed=5), make()
    other.empty = 255 - other.empty[:, ::-1]
    counts = [len(detector.detect([frame(i, (scene if i < 40 else other).draw([]))])[0]) for i in range(80)]
    assert sum(counts) == 0
    people = [[walk(other, i)] for i in range(60)]
    recall, wrong = tally(run(detector, other, iter(people), 80), 20)
    assert recall > 0.9
    assert wrong < 0.1


def test_two_side_by_side_are_two() -> None:
    scene, detector = Scene(), make()
    for _ in run(detector, scene, ([walk(scene, i)] for i in range(150))):
        pass
    pairs = []
    for i in range(60):
        left = scene.person(60 + 3 * i, 190, i)
        aside = 0.8 * (left[2] - left[0])
        pairs.append([left, left + np.array([aside, -3, aside, -3])])
    recall, wrong = tally(run(detector, scene, iter(pairs), 110), 10, 0.4)
    assert recall > 0.85
    assert wrong < 0.3


def test_shadows_do_not_spoil_the_boxes() -> None:
    scene = Scene()
    recall, wrong = tally(run(make(), scene, ([walk(scene, i)] for i in range(150)), shade=0.8), 30)
    assert recall > 0.9
    assert wrong < 0.15


def test_cut_by_the_lower_edge() -> None:
    """Heights are known from people seen whole; one comes so near that the feet are below the picture."""
    scene, detector = Scene(), make()
    for _ in run(detector, scene, ([walk(scene, i)] for i in range(150))):
        pass
    near = [[boxes.clip(scene.person(80 + 2 * i, 262, i)[None], *SIZE)[0]] for i in range(60)]
    recall, _ = tally(run(detector, scene, iter(near), 110), 10)
    assert recall > 0.85


def flatten(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(state, dict):
        for key, value in state.items():
            yield from flatten(value, f"{path}/{key}")
    else:
        yield path, state


@pytest.mark.parametrize("stop", [1, 17, 50])
def test_restore_goes_on_bit_by_bit(stop: int) -> None:
    scenes = {"a": Scene(), "b": Scene((500, 280), seed=1)}
    frames = []
    for i in range(70):
        one = frame(i, scenes["a"].draw([walk(scenes["a"], i)]))
        two = frame(i, scenes["b"].draw([walk(scenes["b"], i, 1.0)]), "b", (500, 280))
        frames.append([one, two] if i % 3 else [one])
    whole, first, second = make(), make(), make()
    for batch in frames[:stop]:
        whole.detect(batch)
        first.detect(batch)
    saved = first.state()
    kept = {path: np.array(value, copy=True) for path, value in flatten(saved)}
    second.restore(saved)
    for batch in frames[stop:]:
        for expected, found in zip(whole.detect(batch), second.detect(batch), strict=True):
            np.testing.assert_array_equal(expected.xyxy, found.xyxy)
            np.testing.assert_array_equal(expected.score, found.score)
    for path, value in flatten(saved):  # what was saved is a copy
        np.testing.assert_array_equal(value, kept[path])
    for (path, expected), (_, found) in zip(flatten(whole.state()), flatten(second.state()), strict=True):
        np.testing.assert_array_equal(expected, found, err_msg=path)


def test_cameras_do_not_disturb_each_other() -> None:
    scenes = [Scene(), Scene((500, 280), seed=1)]
    together, alone = make(), make()
    for i in range(40):
        one = frame(i, scenes[0].draw([walk(scenes[0], i)]))
        two = frame(i, scenes[1].draw([walk(scenes[1], i)]), "b", (500, 280))
        both = together.detect([one, two])
        np.testing.assert_array_equal(both[0].xyxy, alone.detect([one])[0].xyxy)


def test_odd_input() -> None:
    detector = make()
    assert detector.detect([]) == []
    rng = np.random.default_rng(0)
    for i, size in enumerate([(16, 16), (17, 301), (8, 8), (1, 1), (1001, 33), (64, 48), (640, 480), (64, 48)]):
        image = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        found = detector.detect([frame(i, image, size=size), frame(i, None, "none")])
        assert [len(f) for f in found] == [0, 0]
    repeated = [frame(3, image, size=(64, 48))] * 3  # time stands still
    for one in repeated:
        assert len(detector.detect([one])) == 1


def test_boxes_obey_the_configuration() -> None:
    scene = Scene()
    detector = make(score=0.6, min_height_px=60, max_detections=1)
    for _, found in run(detector, scene, ([walk(scene, i), walk(scene, i, 2.0)] for i in range(120))):
        assert len(found) <= 1
        assert (found.score >= 0.6).all()
        assert (found.xyxy[:, 3] - found.xyxy[:, 1] >= 60).all()
        assert (found.xyxy >= 0).all()
        assert (found.xyxy <= [320, 240, 320, 240]).all()


def test_heights_are_learned_in_spite_of_pairs(rng: np.random.Generator) -> None:
    model = HeightModel(240)
    for _ in range(400):
        foot = rng.uniform(120, 230)
        height = 0.4 * foot - 8 + rng.normal(0, 1.5)
        kind = rng.random()
        model.add(foot, height * (0.55 if kind < 0.2 else 1.6 if kind > 0.85 else 1.0))
    foot = np.array([130.0, 180.0, 225.0])
    np.testing.assert_allclose(model.expected(foot), 0.4 * foot - 8, rtol=0.08)
    np.testing.assert_allclose(model.foot_of(foot - model.expected(foot)), foot, rtol=1e-6)
