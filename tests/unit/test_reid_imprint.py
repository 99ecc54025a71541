"""Class weights that start where the network puts the people: against a plain loop, and only where asked for."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from reid_tiny import tiny_model  # noqa: E402, F401

from reid_models import ReidError  # noqa: E402
from reid_models.data.augment import normalise  # noqa: E402
from reid_models.losses import build_criterion  # noqa: E402
from reid_models.train_data import TrainingSet  # noqa: E402
from reid_models.train_setup import Learner, imprint  # noqa: E402

PEOPLE = 3


@pytest.fixture
def data(rng):
    pid = np.array([2, 0, 1, 0, 2, 0, 0, 0, 0, -1])  # one of them generated, one of six pictures
    images = torch.from_numpy(rng.integers(0, 256, (len(pid), 3, 36, 20), dtype=np.uint8))
    return TrainingSet(images, pid, np.zeros(len(pid), np.int64), PEOPLE)


def learner_of(model, **options):
    term = {"name": "angular_margin", "on": "descriptor", **options}
    return Learner(model, build_criterion([term], PEOPLE, [], None, 0, descriptor_dim=model.dim), False)


def test_weights_are_mean_directions_of_the_first_four(tiny_model, data):  # noqa: F811
    learner = learner_of(tiny_model, imprint=True)
    assert imprint(learner, data, (32, 16)) == 1
    tiny_model.eval()
    (loss,) = learner.criterion.terms[0].losses
    for person in range(PEOPLE):
        total = torch.zeros(tiny_model.dim)
        for row in np.flatnonzero(data.pid == person)[:4]:
            window = data.images[row : row + 1, :, 2:34, 2:18]
            with torch.no_grad():
                total += tiny_model.descriptor_only(normalise(window))[0]
        torch.testing.assert_close(loss.weight[person].detach(), total / total.norm(), atol=1e-5, rtol=1e-5)
    assert loss.weight.requires_grad


def test_nothing_happens_unless_asked_for(tiny_model, data):  # noqa: F811
    learner = learner_of(tiny_model)
    before = [p.clone() for p in learner.criterion.parameters()]
    assert imprint(learner, data, (32, 16)) == 0
    assert all(torch.equal(a, b) for a, b in zip(before, learner.criterion.parameters(), strict=True))
    with pytest.raises(ReidError, match=r"angular_margin\.imprint"):
        learner_of(tiny_model, imprint="yes")
