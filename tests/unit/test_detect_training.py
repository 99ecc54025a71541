"""Training of the small person detector: composed pictures, assignment, losses, resuming, export."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mctrack.config import DetectConfig  # noqa: E402
from mctrack.detect.onnx import OnnxDetector  # noqa: E402
from mctrack.detect.training.clutter import clutter  # noqa: E402
from mctrack.detect.training.compose import IGNORE, Bank, compose  # noqa: E402
from mctrack.detect.training.export import export  # noqa: E402
from mctrack.detect.training.loss import Truth, assign_cells, detection_loss, giou, pair_iou  # noqa: E402
from mctrack.detect.training.network import PersonNet, cell_centres  # noqa: E402
from mctrack.detect.training.train import TrainOptions, rate, train  # noqa: E402
from mctrack.errors import ConfigError, OutputError, WeightsError  # noqa: E402
from mctrack.types import Frame  # noqa: E402


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Upright two-coloured ellipses stand in for people."""
    root, rng = tmp_path_factory.mktemp("bank"), np.random.default_rng(0)
    for name in ("people", "backgrounds"):
        (root / name).mkdir()
    for i in range(6):
        person = np.zeros((120, 44, 4), np.uint8)
        cv2.ellipse(person, (22, 60), (20, 59), 0, 0, 360, (*rng.integers(0, 255, 3).tolist(), 255), -1)
        cv2.imwrite(str(root / "people" / f"{i}.png"), person)
        ground = cv2.resize(rng.integers(60, 200, (12, 16, 3)).astype(np.uint8), (640, 480))
        cv2.imwrite(str(root / "backgrounds" / f"{i}.jpg"), ground)
    return Bank(root)


def test_pictures_are_functions_of_seed_and_number(bank: Bank) -> None:
    a, b, c = compose(bank, 1, 5, (256, 192)), compose(bank, 1, 5, (256, 192)), compose(bank, 1, 6, (256, 192))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.xyxy, b.xyxy)
    assert not np.array_equal(a.image, c.image)


def test_boxes_lie_inside_and_hide_behind_one_another(bank: Bank) -> None:
    seen = [compose(bank, 0, i, (256, 192)) for i in range(60)]
    assert all(s.image.shape == (192, 256, 3) and len(s.xyxy) == len(s.visible) for s in seen)
    boxes, visible = np.concatenate([s.xyxy for s in seen]), np.concatenate([s.visible for s in seen])
    assert len(boxes) > 100
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 256).all()
    assert (boxes[:, 3] <= 192).all()
    assert visible.min() >= IGNORE
    assert visible.max() <= 1
    assert (visible < 0.9).mean() > 0.1
    assert any(len(s.xyxy) == 0 for s in seen)


def test_scenes_are_cut_with_their_people(bank: Bank, tmp_path: Path) -> None:
    """A scene of one flat colour with one white person: where it is white, there is the box."""
    for name in ("people", "backgrounds"):
        (tmp_path / name).symlink_to(bank.root / name)
    (tmp_path / "scenes").mkdir()
    frame = np.full((240, 320, 3), 40, np.uint8)
    frame[60:180, 140:180] = 255
    cv2.imwrite(str(tmp_path / "scenes" / "a.jpg"), frame)
    (tmp_path / "scenes" / "a.txt").write_text("140 60 180 180 0.8\n5 5 9 15 0.01\n")
    mixed, found = Bank(tmp_path), 0
    for i in range(80):
        sample = compose(mixed, 3, i, (128, 96))
        light = sample.image.min(2) > 1.6 * np.median(sample.image)
        if len(sample.xyxy) != 1 or (sample.image.std(0).mean() > 60):
            continue
        y, x = np.nonzero(light)
        box = sample.xyxy[0]
        if len(y) and abs(box - [x.min(), y.min(), x.max() + 1, y.max() + 1]).max() <= 4:
            found += 1
            assert sample.visible[0] <= 0.8
    assert found >= 8
    (tmp_path / "scenes" / "a.txt").write_text("140 60 180\n")
    with pytest.raises(ConfigError, match=r"a\.txt: expected a line 'left top right bottom visibility'"):
        Bank(tmp_path).scene(0)


def test_clutter_draws_every_kind_and_stays_inside() -> None:
    rng = np.random.default_rng(0)
    person = rng.integers(0, 255, (80, 30, 4)).astype(np.uint8)
    changed = 0
    for _ in range(200):
        canvas = np.full((60, 80, 3), 128, np.uint8)
        clutter(canvas, rng, lambda: person)
        changed += bool((canvas != 128).any())
    assert changed > 150


def test_a_folder_that_is_no_bank(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected people/\*\.png and backgrounds/\*\.jpg"):
        Bank(tmp_path)


def slow_iou(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU and generalised IoU of two boxes."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inter / union, inter / union - (hull - union) / hull


def test_overlaps_against_a_slow_loop() -> None:
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 50, (12, 2))
    boxes = torch.tensor(np.concatenate([low, low + rng.uniform(5, 40, (12, 2))], 1))
    table, row = pair_iou(boxes, boxes), giou(boxes, boxes.flip(0))
    for i in range(12):
        for j in range(12):
            assert table[i, j].item() == pytest.approx(slow_iou(boxes[i].tolist(), boxes[j].tolist())[0])
        assert row[i].item() == pytest.approx(slow_iou(boxes[i].tolist(), boxes[11 - i].tolist())[1])


def test_cells_answer_for_the_person_they_fit() -> None:
    centres = cell_centres(64, 64, torch.device("cpu"))
    people = torch.tensor([[4.0, 4, 24, 44], [36, 10, 60, 60]])
    boxes = people[(centres[:, 0] > 30).long()]  # every cell predicts the person on its side exactly
    owner, target = assign_cells(torch.full((len(centres),), 0.5), boxes, centres, people)
    inside = ((centres[:, None] > people[:, :2]) & (centres[:, None] < people[:, 2:])).all(-1)
    for k in (0, 1):
        mine = (owner == k).nonzero()[:, 0]
        assert 1 <= len(mine) <= 9
        assert inside[mine, k].all()
        assert target[mine].tolist() == pytest.approx([1.0] * len(mine))  # metric and fit are perfect
    assert (target[owner < 0] == 0).all()


def test_loss_of_a_perfect_answer_is_nothing_and_ignored_places_cost_nothing() -> None:
    centres = cell_centres(64, 64, torch.device("cpu"))
    people = torch.tensor([[8.0, 8, 32, 56]])
    boxes = people.expand(len(centres), 4)[None].clone().requires_grad_()
    truth = [Truth(people, torch.tensor([False]))]
    owner, _ = assign_cells(torch.full((len(centres),), 0.5), boxes[0].detach(), centres, people)
    sure = torch.where(owner >= 0, 20.0, -20.0)[None]
    assert [v.item() for v in detection_loss(sure, boxes, centres, truth)] == pytest.approx([0, 0], abs=1e-5)
    wrong = torch.full((1, len(centres)), -20.0)
    wrong[0, (centres - torch.tensor([20.0, 20])).abs().sum(1).argmin()] = 5.0
    assert detection_loss(wrong, boxes, centres, [Truth(people, torch.tensor([True]))])[0].item() < 1e-6
    score, _ = detection_loss(wrong, boxes, centres, [Truth(people[:0], torch.zeros(0, dtype=torch.bool))])
    assert score.item() == pytest.approx(5.0, rel=0.02)  # sigmoid(5)² · softplus(5), over at least 1


def test_rate_warms_up_and_falls_to_zero() -> None:
    o = TrainOptions(steps=100, warmup=10, lr=1.0)
    assert [rate(0, o), rate(9, o), rate(10, o), rate(55, o)] == pytest.approx([0.1, 1, 1, 0.5])
    assert rate(100, o) == pytest.approx(0, abs=1e-9)


def test_training_learns_resumes_and_exports(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    o = TrainOptions(steps=6, batch=2, warmup=2, workers=0, precision="float32", save_s=0)
    whole = train(bank, tmp_path / "a", o, say=lambda _: None)

    import mctrack.detect.training.train as module

    blend, calls = module._blend, [0]

    def dies_within_the_fourth_step(*args: object) -> None:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        blend(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "_blend", dies_within_the_fourth_step)
        with pytest.raises(KeyboardInterrupt):
            train(bank, tmp_path / "b", o, say=lambda _: None)
    again = train(bank, tmp_path / "b", o, say=lambda _: None, resume=True)
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ConfigError, match="was trained with"):
        train(bank, tmp_path / "b", TrainOptions(steps=7, batch=2), say=lambda _: None, resume=True)

    path = tmp_path / "detector.onnx"
    export(whole, path)
    detector = OnnxDetector(DetectConfig(weights=str(path), score=0.0001), [], "cpu")
    frames = [Frame("a", 0, 0.0, np.full((h, w, 3), 90, np.uint8), (w, h)) for w, h in ((200, 120), (90, 160))]
    found = detector.detect(frames)
    assert len(found) == 2
    assert "yolov8" in detector.description
    assert "512" in detector.description


def test_a_few_hundred_gradients_find_one_person(bank: Bank) -> None:
    """The whole chain learns: one picture by heart, box within IoU 0.7, nothing else above half."""
    from mctrack.detect.training.train import _step

    sample = next(s for s in (compose(bank, 3, i, (128, 96)) for i in range(200))
                  if len(s.xyxy) == 1 and s.visible[0] > 0.9 and s.xyxy[0, 3] - s.xyxy[0, 1] > 40)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = PersonNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    images = torch.from_numpy(np.ascontiguousarray(sample.image[None, ..., ::-1].transpose(0, 3, 1, 2)))
    truth = torch.from_numpy(sample.xyxy)
    for _ in range(60):
        _step(net, optimiser, images.repeat(2, 1, 1, 1), [truth] * 2, [torch.zeros(1, dtype=torch.bool)] * 2, "float32")
    with torch.no_grad():
        logits, boxes = net(images.repeat(2, 1, 1, 1).float() / 255)
    best = logits[0].argmax()
    assert pair_iou(boxes[0, best][None], truth).item() > 0.7
    assert logits[0, best] > 0


def test_damaged_checkpoints_and_options_are_told(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no checkpoint\.pt"):
        train(bank, tmp_path, TrainOptions(), resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="not a checkpoint of this training"):
        train(bank, tmp_path, TrainOptions(), resume=True)
    with pytest.raises(ConfigError, match="precision 'float8'"):
        train(bank, tmp_path, TrainOptions(precision="float8"))
    with pytest.raises(OutputError, match=r"the folder .*checkpoint\.pt cannot be made: File exists"):
        train(bank, tmp_path / "checkpoint.pt", TrainOptions())
