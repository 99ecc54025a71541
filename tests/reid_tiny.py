"""A network of a few numbers that keeps every promise of a backbone, so that tests of what is around it are fast."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

pytest.importorskip("torch")
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from reid_models.backbones import BACKBONES
from reid_models.batch import ModelOutput


class Tiny(nn.Module):
    def __init__(self, num_classes, width, stride, input_hw):
        super().__init__()
        self.name, self.dim, self.input_hw = "tiny", 12, tuple(input_hw)
        self.conv = nn.Conv2d(3, width, 3, stride, 1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, self.dim)
        self.classifier = nn.Linear(self.dim, num_classes) if num_classes else None

    def forward(self, images):
        descriptor = self.descriptor_only(images)
        return ModelOutput(descriptor, logits=[self.classifier(descriptor)] if self.classifier else [])

    def descriptor_only(self, images):
        return F.normalize(self.head(F.relu(self.norm(self.conv(images))).mean((2, 3))))


def tiny(num_classes=0, *, width=8, stride=4, input_hw=(32, 16), pretrained=None):
    return Tiny(num_classes, width, stride, input_hw)


@pytest.fixture
def tiny_model(monkeypatch):
    """A trained-looking model with five classes, whose name is known while the test runs."""
    module = ModuleType("reid_tiny_factory")
    module.tiny = tiny
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(BACKBONES, "tiny", "reid_tiny_factory:tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = tiny(5)
    model.norm.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    return model
