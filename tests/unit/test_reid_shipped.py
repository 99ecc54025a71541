"""The weights that ship: whole, small, described, the same in both formats, and better than chance by far."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mctrack.resources import resource
from reid_models import EMBEDDERS, load
from reid_models.shipped import FOLDER, shipped_names

VIDEOS = resource("videos")
LIMIT_BYTES = 13_000_000


def test_every_file_is_small_and_has_its_card() -> None:
    assert "robust_reid_compact" in shipped_names()
    for name in shipped_names():
        assert name in EMBEDDERS
        card = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        assert {"model", "recipe", "data", "seed", "figures", "sha256", "calibration"} <= set(card)
        assert card["model"] == name
        assert all(path.stat().st_size <= LIMIT_BYTES for path in FOLDER.glob(f"{name}.*"))
        assert (FOLDER / f"{name}.safetensors").is_file()
        assert "/" not in json.dumps(card["data"]).replace("DIR/", "").replace("eval/retrain.py", "")


def test_the_embedder_answers_as_the_weights_do() -> None:
    pytest.importorskip("torch")
    from reid_models.weights import load_weights

    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 255, (int(h), int(h) // 2, 3)).astype(np.uint8) for h in (40, 160, 90)]
    for name in shipped_names():
        embedder = load(name, "cpu")
        found = embedder.embed(crops)
        assert found.shape == (3, embedder.dim)
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
        from reid_models.torch_embedder import TorchEmbedder

        model, card = load_weights(FOLDER / f"{name}.safetensors")
        assert TorchEmbedder(model, "cpu", card=card).embed(crops) == pytest.approx(found, abs=1e-4)


def clip_crops(camera: str, every: int) -> tuple[list[np.ndarray], list[int]]:
    """Well visible people of a sample clip at every so-manieth frame, and who they are."""
    import av

    wanted: dict[int, list[tuple[int, list[float]]]] = {}
    for line in (VIDEOS / "gt" / f"{camera}.txt").read_text().splitlines():
        v = [float(x) for x in line.split(",")]
        if v[6] > 0 and v[8] > 0.8 and v[5] > 60 and (int(v[0]) - 1) % every == 0:
            wanted.setdefault(int(v[0]) - 1, []).append((int(v[1]), v[2:6]))
    crops, people = [], []
    with av.open(str(VIDEOS / f"{camera}.mp4")) as container:
        for i, frame in enumerate(container.decode(video=0)):
            image = frame.to_ndarray(format="bgr24") if i in wanted else None
            for person, (x, y, w, h) in wanted.get(i, []):
                assert image is not None
                crop = image[max(int(y), 0) : int(y + h), max(int(x), 0) : int(x + w)]
                if crop.size:
                    crops.append(crop)
                    people.append(person)
    return crops, people


@pytest.mark.skipif(not (Path(VIDEOS) / "cam1.mp4").is_file(), reason="the sample clips are not installed")
def test_people_of_the_sample_clips_are_told_apart_across_cameras() -> None:
    """None of them was trained on, nor anybody drawn like them. On all four: 0.93, 0.94; the histogram 0.85, 0.88."""
    crops, people, cameras = [], [], []
    for camera in ("cam1", "cam2"):
        found, who = clip_crops(camera, 45)
        crops += found
        people += who
        cameras += [camera] * len(who)
    rows = load("robust_reid_compact", "cpu").embed(crops)
    pid, cam = np.array(people), np.array(cameras)
    distance = 1 - rows @ rows.T
    same, other = pid[:, None] == pid, cam[:, None] != cam
    right = [bool(same[i][np.where(other[i], distance[i], np.inf).argmin()]) for i in range(len(pid))
             if (same[i] & other[i]).any()]  # fmt: skip
    assert len(right) > 30
    assert np.mean(right) > 0.8
    alike, unlike = distance[other & same], distance[other & ~same]
    assert (alike[:, None] < unlike).mean() > 0.85  # area under the ROC curve
