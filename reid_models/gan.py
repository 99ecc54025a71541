"""A deep convolutional GAN for pictures of people, as sparse label smoothing trains one per cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from reid_models.errors import ReidError

_FIRST = 8
"""Height and width in pixels of the generator's first map and of the discriminator's last one."""
Report = Callable[[int, float, float], None]


@dataclass(frozen=True)
class GanOptions:
    """The paper's sizes (SLSR section 4.2 and 5.2); smaller ones for tests and for small data.

    Attributes:
        size: height and width of the pictures in pixels, 16, 32, 64, 128…
        width: channels of the largest map; they double towards the smallest one, up to ``width * 8``.
        noise: length of the generator's input, uniform in [−1, 1].
        batch: pictures per step.
        rate: Adam's learning rate.
        beta1: Adam's first decay.
    """

    size: int = 128
    width: int = 64
    noise: int = 100
    batch: int = 64
    rate: float = 2e-4
    beta1: float = 0.5

    def __post_init__(self) -> None:
        """Check that the sizes can be built."""
        if not all(isinstance(value, int) for value in (self.size, self.width, self.noise, self.batch)):
            raise ReidError("gan: size, width, noise and batch have to be whole numbers")
        if self.size < 2 * _FIRST or self.size & (self.size - 1):
            raise ReidError(f"gan size {self.size}: expected a power of two of at least {2 * _FIRST}")
        if min(self.width, self.noise) < 1 or self.batch < 2:
            raise ReidError("gan: width and noise have to be at least 1 and batch at least 2")

    @property
    def channels(self) -> list[int]:
        """Channels from the smallest map to the largest one, 512, 256, 128, 64 for the paper's 128 × 128."""
        levels = (self.size // _FIRST).bit_length() - 1
        return [self.width * 2 ** min(level, 3) for level in reversed(range(levels))]


class Generator(nn.Module):
    """(n, noise) in [−1, 1] → (n, 3, size, size) in (−1, 1).

    A linear layer to an 8 × 8 map, then deconvolutions 5 × 5 of stride 2, each but the last followed by batch
    normalisation and ReLU, and tanh at the end.
    """

    def __init__(self, options: GanOptions) -> None:
        super().__init__()
        self.first = options.channels[0]
        self.linear = nn.Linear(options.noise, self.first * _FIRST**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(self.first), nn.ReLU()]
        for before, after in pairwise(options.channels):
            layers += [_up(before, after), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _up(options.channels[-1], 3), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        """The pictures."""
        pictures: Tensor = self.layers(self.linear(noise).view(-1, self.first, _FIRST, _FIRST))
        return pictures


class Discriminator(nn.Module):
    """(n, 3, size, size) in [−1, 1] → (n,) log-odds that a picture is real.

    Convolutions 5 × 5 of stride 2, each followed by batch normalisation and ReLU, and a linear layer; its sigmoid is
    part of the loss.
    """

    def __init__(self, options: GanOptions) -> None:
        super().__init__()
        channels = [3, *reversed(options.channels)]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 5, 2, 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * _FIRST**2, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """The log-odds."""
        odds: Tensor = self.layers(pictures)
        return odds[:, 0]


def _up(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 5, 2, 2, output_padding=1)


class Gan:
    """One generator and one discriminator, trained against each other on one set of pictures (SLSR eq. 2).

    All randomness comes from ``seed``, on the CPU whatever the device, and what is saved continues exactly.
    """

    def __init__(self, options: GanOptions, seed: int, device: str = "cpu") -> None:
        self.options, self.device, self.step = options, device, 0
        self.random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):  # building layers draws from torch's global state
            self.generator, self.discriminator = Generator(options), Discriminator(options)
        for model in (self.generator, self.discriminator):
            _start(model, self.random)
            model.to(device)
        self.optimisers = [torch.optim.Adam(model.parameters(), options.rate, (options.beta1, 0.999))
                           for model in (self.generator, self.discriminator)]

    def train(self, images: Tensor, steps: int, *, folder: Path | None = None, save_every: int = 500,
              report: Report | None = None) -> None:
        """Go on until ``steps`` have been made in all.

        Args:
            images: (m, 3, size, size) uint8; a batch is drawn from them with replacement.
            steps: of one update of either network.
            folder: where the state is saved, and read from first where there is one.
            save_every: steps between saves.
            report: called after every step with its number and both losses.
        """
        if folder is not None and has_checkpoint(folder):
            self._restore(load_checkpoint(folder)[0])
        images = images.to(self.device)
        self.generator.train()
        self.discriminator.train()
        while self.step < steps:
            index = torch.randint(len(images), (self.options.batch,), generator=self.random)
            losses = self._update(images[index.to(self.device)].float() / 127.5 - 1)
            self.step += 1
            if report is not None:
                report(self.step, *losses)
            if folder is not None and (self.step % save_every == 0 or self.step == steps):
                save_checkpoint(folder, self._state())

    def _update(self, real: Tensor) -> tuple[float, float]:
        """One step of either; the losses of the generator and of the discriminator."""
        fake = self.generator(self._noise(len(real), self.random))
        found = _odds_loss(self.discriminator(real), 1.0) + _odds_loss(self.discriminator(fake.detach()), 0.0)
        _descend(self.optimisers[1], found)
        fooled = _odds_loss(self.discriminator(fake), 1.0)  # judged by the discriminator that has just learned
        _descend(self.optimisers[0], fooled)
        return float(fooled.detach()), float(found.detach())

    @torch.no_grad()
    def make(self, count: int, seed: int) -> Tensor:
        """(count, 3, size, size) uint8 pictures, the same for the same seed."""
        self.generator.eval()
        random = torch.Generator().manual_seed(seed)
        made = [self.generator(self._noise(min(256, count - start), random)).cpu() for start in range(0, count, 256)]
        pictures = torch.cat(made) if made else torch.zeros(0, 3, self.options.size, self.options.size)
        return ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def _noise(self, count: int, random: torch.Generator) -> Tensor:
        return (torch.rand(count, self.options.noise, generator=random) * 2 - 1).to(self.device)

    def _state(self) -> dict[str, Any]:
        return {"step": self.step, "random": self.random.get_state(), "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.random.set_state(state["random"])
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _odds_loss(odds: Tensor, truth: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(odds, torch.full_like(odds, truth))


def _start(model: nn.Module, random: torch.Generator) -> None:
    """Weights from N(0, 0.02²), those of batch normalisation around 1; biases 0."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.weight.copy_(torch.randn(module.weight.shape, generator=random) * 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(1 + torch.randn(module.weight.shape, generator=random) * 0.02)
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()  # type: ignore[operator]
