"""Losses that learn from a teacher, against closed forms and slow loops; and the teacher inside the trainer."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from reid_models.batch import Target  # noqa: E402
from reid_models.data import normalise  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.losses.criterion import Sizes  # noqa: E402
from reid_models.losses.distillation import Imitation, Neighbourhood, neighbourhood_loss  # noqa: E402
from reid_models.recipe import load_recipe  # noqa: E402
from reid_models.torch_embedder import TorchEmbedder  # noqa: E402
from reid_models.train_setup import build_learner, descriptors, load_teacher  # noqa: E402

SHIPPED = "robust_reid_compact"
SIZES = Sizes(4, (5,), teacher_dim=3)


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def target(teacher: torch.Tensor | None) -> Target:
    n = 0 if teacher is None else len(teacher)
    return Target(torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long), teacher=teacher)


def imitation() -> Imitation:
    return Imitation(SIZES, width=5, generator=torch.Generator().manual_seed(1)).double()


# ---------------------------------------------------------------------- imitation


def test_imitation_is_one_minus_the_mean_cosine_with_the_mapped_features() -> None:
    loss, features, teacher = imitation(), rows(6, 5), rows(6, 3, 2)
    cosines = []
    for f, t in zip(features, teacher, strict=True):
        guess = [sum(float(w) * float(x) for w, x in zip(line, f, strict=True)) for line in loss.weight.detach()]
        dot = sum(g * float(x) for g, x in zip(guess, t, strict=True))
        cosines.append(dot / math.hypot(*guess) / math.hypot(*map(float, t)))
    assert loss(features, target(teacher)).item() == pytest.approx(1 - sum(cosines) / 6, abs=1e-12)


def test_imitation_vanishes_where_a_linear_map_gives_the_teacher() -> None:
    loss, features = imitation(), rows(6, 5)
    teacher = 3 * features @ loss.weight.detach().T
    value = loss(features, target(teacher))
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert loss(features, target(-teacher)).item() == pytest.approx(2, abs=1e-12)


# ---------------------------------------------------------------------- neighbourhood


def slow_neighbourhood(features: torch.Tensor, teacher: torch.Tensor, temperature: float) -> float:
    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    def shares(found: list[list[float]], i: int) -> list[float]:
        powers = [math.exp(cosine(found[i], found[j]) / temperature) for j in range(len(found)) if j != i]
        return [p / sum(powers) for p in powers]

    student, wise, total = features.tolist(), teacher.tolist(), 0.0
    for i in range(len(student)):
        total += sum(p * math.log(p / q) for p, q in zip(shares(wise, i), shares(student, i), strict=True))
    return total / len(student)


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_neighbourhood_is_the_slow_loop(n: int, temperature: float) -> None:
    features, teacher = rows(n, 5), rows(n, 3, 2)
    expected = slow_neighbourhood(features, teacher, temperature)
    assert neighbourhood_loss(features, teacher, temperature).item() == pytest.approx(expected, abs=1e-9)


def test_neighbourhood_vanishes_for_a_turned_and_scaled_teacher() -> None:
    teacher = rows(8, 5)
    turn, _ = torch.linalg.qr(rows(5, 5, 3))
    assert neighbourhood_loss(2 * teacher @ turn, teacher, 0.1).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_nobody_to_be_near(n: int) -> None:
    features = rows(n, 5).requires_grad_()
    value = neighbourhood_loss(features, rows(n, 3), 0.1)
    value.backward()
    assert value.item() == 0
    assert features.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_identical_pictures_give_a_finite_loss_and_gradient(dtype: torch.dtype) -> None:
    teacher = torch.ones(4, 3)
    for loss in (Neighbourhood(SIZES), imitation().float()):
        features = torch.ones(4, 5, dtype=dtype).requires_grad_()
        value = loss(features, target(teacher))
        value.backward()
        assert torch.isfinite(value)
        assert features.grad is not None
        assert torch.isfinite(features.grad).all()


def test_gradient_descent_finds_the_teachers_neighbours() -> None:
    teacher, features = rows(8, 3, 2), rows(8, 5).requires_grad_()
    optimiser = torch.optim.Adam([features], 0.05)
    first = neighbourhood_loss(features, teacher, 0.1).item()
    for _ in range(200):
        optimiser.zero_grad()
        value = neighbourhood_loss(features, teacher, 0.1)
        value.backward()
        optimiser.step()
    assert value.item() < 0.02 * first


# ---------------------------------------------------------------------- what is asked for wrongly


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Imitation(Sizes(4, (5,)), width=5, generator=torch.Generator()), "imitation: it needs a teacher"),
    (lambda: Neighbourhood(Sizes(4, (5,))), "neighbourhood: it needs a teacher"),
    (lambda: Neighbourhood(SIZES, temperature=0), "neighbourhood.temperature: expected a number above 0"),
    (lambda: Neighbourhood(SIZES)(rows(2, 5), target(None)), "need the descriptors of a teacher"),
    (lambda: load_recipe("distil", ["teacher=null"]), "the loss 'imitation' learns from a teacher; set 'teacher'"),
    (lambda: load_recipe("compact", [f"teacher={SHIPPED}"]), "but no loss learns from it; add one of imitation"),
    (lambda: load_teacher("nobody"), "teacher 'nobody': neither .*shipped.*nor a file"),
])
def test_one_clear_line(make, words: str) -> None:
    with pytest.raises(ReidError, match=words):
        make()


# ---------------------------------------------------------------------- the teacher in the trainer


def test_the_teacher_answers_and_does_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("distil", ["model.name=osnet_x0_25", "input_hw=[256,128]", "precision=float32"])
    learner = build_learner(recipe, 4, 0, torch.device("cpu")).train()
    assert learner.model.training
    assert not learner.teacher.training
    seen = {}

    def watch(output, about: Target):
        seen["teacher"] = about.teacher
        return criterion_forward(output, about)

    criterion_forward = learner.criterion.forward
    monkeypatch.setattr(learner.criterion, "forward", watch)
    before = {k: v.clone() for k, v in learner.teacher.state_dict().items()}
    images = torch.randn(8, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], 0.1)
    learner(images, Target(torch.arange(8) % 4, torch.zeros(8, dtype=torch.long)))[0].backward()
    optimiser.step()
    assert all(torch.equal(v, before[k]) for k, v in learner.teacher.state_dict().items())
    assert seen["teacher"].shape == (8, 512)
    assert not seen["teacher"].requires_grad
    assert seen["teacher"].norm(dim=1).tolist() == pytest.approx([1] * 8, abs=1e-5)


def test_the_teacher_sees_the_students_pictures() -> None:
    """What it answers in training is what the embedder answers of the same pictures."""
    recipe = load_recipe("distil", ["precision=float32"])
    learner = build_learner(recipe, 4, 0, torch.device("cpu"))
    embedder = TorchEmbedder(load_teacher(SHIPPED), "cpu")
    crops = torch.randint(0, 256, (3, 160, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = descriptors(learner.teacher, normalise(crops.permute(0, 3, 1, 2)))
    expected = embedder.embed([c.numpy()[..., ::-1] for c in crops])
    assert torch.allclose(found, torch.from_numpy(expected), atol=1e-5)
