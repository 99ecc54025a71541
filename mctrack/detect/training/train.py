"""The training loop of the person detector: composed pictures in, weights and an ONNX file out; resumable."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mctrack.detect.training.compose import ASK, SIZES, Bank, compose
from mctrack.detect.training.loss import Truth, detection_loss
from mctrack.detect.training.network import PersonNet, cell_centres
from mctrack.errors import ConfigError, OutputError, WeightsError

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        steps, batch: so many batches of so many pictures.
        lr: peak learning rate of AdamW; a linear warm-up of ``warmup`` steps, then half a cosine to zero.
        weight_decay: of the convolutions' weights.
        average: decay per step of the running average of the weights, which is what is kept.
        seed: of pictures and weights.
        workers: processes that compose pictures; 0: none.
        precision: ``bfloat16`` (autocast: nearly twice as fast where the processor has it) or ``float32``.
        save_s: seconds between checkpoints.
    """

    steps: int = 8000
    batch: int = 16
    lr: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.02
    average: float = 0.998
    seed: int = 0
    workers: int = 1
    precision: str = "bfloat16"
    save_s: float = 120.0


class Pictures(torch.utils.data.Dataset[tuple[Tensor, list[Tensor], list[Tensor]]]):
    """Batch number → (n, 3, h, w) RGB 0…1, and per picture its boxes (k, 4) and what to ignore (k,)."""

    def __init__(self, bank: Bank, options: TrainOptions, first: int) -> None:
        self.bank, self.options, self.first = bank, options, first

    def __len__(self) -> int:
        return self.options.steps - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        o, step = self.options, self.first + index
        size = SIZES[step % len(SIZES)]
        made = [compose(self.bank, o.seed, step * o.batch + i, size) for i in range(o.batch)]
        images = np.stack([s.image[..., ::-1] for s in made]).transpose(0, 3, 1, 2)
        return (
            torch.from_numpy(np.ascontiguousarray(images)), [torch.from_numpy(s.xyxy) for s in made],
            [torch.from_numpy(s.visible < ASK) for s in made],
        )  # fmt: skip


def rate(step: int, options: TrainOptions) -> float:
    """The learning rate of a step."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    done = (step - options.warmup) / max(options.steps - options.warmup, 1)
    return options.lr * 0.5 * (1 + float(np.cos(np.pi * done)))


def train(bank: Bank, out: Path, options: TrainOptions, device: str = "cpu", say: Callable[[str], None] = print,
          resume: bool = False) -> PersonNet:  # fmt: skip
    """Train, and return the averaged network in eval mode.

    Args:
        out: folder for ``checkpoint.pt``.
        resume: go on from the checkpoint in ``out``; composing depends on the step alone, so the result is the same.

    Raises:
        ConfigError: ``resume`` without a checkpoint, or with one of other options.
        OutputError: the folder cannot be made.
    """
    if options.precision not in ("bfloat16", "float32"):
        raise ConfigError(f"precision '{options.precision}': expected bfloat16 or float32")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be made: {error.strerror}") from error
    with torch.random.fork_rng(devices=[]):  # initial weights by the seed, nobody else's random numbers touched
        torch.default_generator.manual_seed(options.seed)
        fresh = PersonNet()
    net = fresh.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    mean = PersonNet().to(device).eval()
    mean.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(_groups(net, options), lr=options.lr)
    step = _load(out / CHECKPOINT, net, mean, optimiser, options, device) if resume else 0
    saved_s = began_s = time.monotonic()
    first, sums = step, np.zeros(3)
    for images, boxes, ignore in _batches(bank, options, step):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, options)
        losses = _step(net, optimiser, images.to(device), boxes, ignore, options.precision)
        _blend(mean, net, min(options.average, (1 + step) / (10 + step)))
        sums += [*(float(v) for v in losses), 1]
        step += 1
        if step % 50 == 0 or step == options.steps:
            pace = (time.monotonic() - began_s) / (step - first)
            say(f"step {step}/{options.steps}  score {sums[0] / sums[2]:.3f}  box {sums[1] / sums[2]:.3f}  "
                f"{options.batch / pace:.1f} pictures/s  {pace * (options.steps - step) / 60:.0f} min left")
            sums[:] = 0
        if time.monotonic() - saved_s > options.save_s or step == options.steps:
            _save(out / CHECKPOINT, {"net": net.state_dict(), "mean": mean.state_dict(), "step": step,
                                     "optimiser": optimiser.state_dict(), "options": asdict(options)})  # fmt: skip
            saved_s = time.monotonic()
    return mean


def _groups(net: PersonNet, options: TrainOptions) -> list[dict[str, Any]]:
    """Weight decay for the convolutions' weights only."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": options.weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _batches(bank: Bank, options: TrainOptions, first: int) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor]]]:
    loader = torch.utils.data.DataLoader(
        Pictures(bank, options, first), batch_size=None, shuffle=False, num_workers=options.workers,
        prefetch_factor=4 if options.workers else None,
    )  # fmt: skip
    yield from loader


def _step(net: PersonNet, optimiser: torch.optim.Optimizer, images: Tensor, boxes: list[Tensor],
          ignore: list[Tensor], precision: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    net.train()
    device = images.device
    truths = [Truth(b.to(device), i.to(device)) for b, i in zip(boxes, ignore, strict=True)]
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits, found = net((images.float() / 255).contiguous(memory_format=torch.channels_last))
    losses = detection_loss(logits, found, cell_centres(images.shape[2], images.shape[3], device), truths)
    optimiser.zero_grad(set_to_none=True)
    (losses[0] + losses[1]).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
    optimiser.step()
    return losses[0].detach(), losses[1].detach()


@torch.no_grad()
def _blend(mean: PersonNet, net: PersonNet, decay: float) -> None:
    """Move the running average a little towards the network, statistics of the normalisation included."""
    for old, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def _save(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".tmp")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _load(path: Path, net: PersonNet, mean: PersonNet, optimiser: torch.optim.Optimizer, options: TrainOptions,
          device: str) -> int:  # fmt: skip
    if not path.is_file():
        raise ConfigError(f"{path.parent} holds no {path.name} to resume from")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        then = {k: v for k, v in state["options"].items() if k not in ("workers", "save_s")}
    except Exception as error:  # torch.load has no common class for what can go wrong
        raise WeightsError(f"{path}: not a checkpoint of this training: {str(error).splitlines()[0][:150]}") from error
    now = {k: v for k, v in asdict(options).items() if k in then}
    if then != now:
        raise ConfigError(f"{path}: was trained with {json.dumps(then)}, not with {json.dumps(now)}")
    return int(state["step"])
