"""The detector that comes with the package: its file, its card, and that it finds people of the world it knows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from mctrack.boxes import iou
from mctrack.config import DetectConfig
from mctrack.detect.embedded import WEIGHTS, EmbeddedDetector
from mctrack.errors import ConfigError
from mctrack.resources import resource
from mctrack.types import Frame


def test_the_file_is_the_one_its_card_tells_of() -> None:
    card = json.loads(WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == card["sha256"]
    assert WEIGHTS.stat().st_size < 6_000_000


def clip_frame(clip: Path, number: int) -> Frame:
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == number:
                image = np.ascontiguousarray(frame.to_ndarray(format="bgr24"))
                return Frame(clip.stem, index, index / 15, image, (image.shape[1], image.shape[0]))
    raise AssertionError(f"{clip} has no frame {number}")


def test_it_finds_the_people_of_a_sample_clip() -> None:
    videos = resource("videos")
    detector = EmbeddedDetector(DetectConfig(score=0.4), [], "cpu", threads=1)
    found = people = wrong = 0
    for number in (60, 150, 240, 330):
        frame = clip_frame(videos / "cam1.mp4", number)
        rows = np.loadtxt(videos / "gt" / "cam1.txt", delimiter=",")
        rows = rows[(rows[:, 0] == number + 1)]
        truth = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], 1)
        fit = iou(detector.detect([frame])[0].xyxy, truth)
        plain = rows[:, 8] > 0.5
        found, people = found + int((fit.max(0, initial=0) > 0.5)[plain].sum()), people + int(plain.sum())
        wrong += int((fit.max(1, initial=0) < 0.3).sum())
    assert people >= 8
    assert found >= 0.9 * people
    assert wrong <= 1


def test_mistakes_and_nobody() -> None:
    with pytest.raises(ConfigError, match=r"detector 'embedded' takes no weights, but --weights names a\.onnx"):
        EmbeddedDetector(DetectConfig(weights="a.onnx"), [], "cpu")
    detector = EmbeddedDetector(DetectConfig(input_size=128), [], "cpu", threads=1)
    assert detector.detect([]) == []
    grey = Frame("a", 0, 0.0, np.full((96, 128, 3), 128, np.uint8), (128, 96))
    blank = Frame("b", 0, 0.0, None, (128, 96))
    assert [len(d) for d in detector.detect([grey, blank])] == [0, 0]
