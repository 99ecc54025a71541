"""Building what the training loop needs: devices and ranks, network and loss, optimiser, order of mini-batches."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from reid_models.backbones import BACKBONES, build_model
from reid_models.batch import Target
from reid_models.errors import ReidError
from reid_models.losses import build_criterion, extra_classes
from reid_models.losses.criterion import read
from reid_models.recipe import OptimiserSpec, Recipe
from reid_models.train_data import TrainingSet

if TYPE_CHECKING:
    from torch import Tensor

Ints = NDArray[np.int64]


# ---------------------------------------------------------------------- devices and ranks


@dataclass(frozen=True)
class World:
    """This process among those that ``torchrun`` started, or the only one."""

    rank: int
    size: int
    device: torch.device

    @staticmethod
    def join(device: str) -> World:
        """Join the others, where ``torchrun`` says that there are any.

        Raises:
            ReidError: there is no such device.
        """
        size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
        if device not in ("auto", "cpu", "cuda") and not re.fullmatch(r"cuda:\d+", device):
            raise ReidError(f"device '{device}': expected auto, cpu, cuda or cuda:N")
        wants_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        if wants_cuda and not torch.cuda.is_available():
            raise ReidError(f"device '{device}': no CUDA device can be used here; choose --device cpu")
        name = "cpu" if not wants_cuda else f"cuda:{local}" if size > 1 or ":" not in device else device
        if wants_cuda:
            torch.cuda.set_device(torch.device(name))
        if size > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if wants_cuda else "gloo")
        return World(int(os.environ.get("RANK", "0")), size, torch.device(name))

    @property
    def is_first(self) -> bool:
        """The one that scores, logs and saves."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        if self.size == 1:
            return flag
        value = torch.tensor([float(flag)], device=self.device)
        torch.distributed.all_reduce(value)
        return bool(value.item())

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The same numbers, averaged over all ranks."""
        if self.size == 1:
            return values
        joined = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(joined)
        return dict(zip(values, (joined / self.size).tolist(), strict=True))

    def share(self, rows: Ints) -> Ints:
        """This rank's part of a mini-batch; whole identities stay together as long as P is divisible."""
        per = len(rows) // self.size
        return rows[self.rank * per : (self.rank + 1) * per]


class Interrupts:
    """SIGINT and SIGTERM set a flag, so that a training ends between two steps. A second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------------- network and loss


class Learner(nn.Module):
    """Network and loss as one module, which is what several GPUs have to agree on; a teacher only answers."""

    def __init__(self, model: nn.Module, criterion: nn.Module, half: bool, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.criterion, self.half_precision = model, criterion, half
        self.teacher = None if teacher is None else teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> Learner:
        """The network trains; the teacher's averages stay as they are."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def forward(self, images: Tensor, target: Target) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts. Autocast ends before the loss: distances and softmax are in float32."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half_precision):
            output = self.model(images)
            if self.teacher is not None:
                with torch.no_grad():
                    target = replace(target, teacher=descriptors(self.teacher, images))
        output.features = [f.float() for f in output.features]
        output.logits = [x.float() for x in output.logits]
        for name in ("attribute_logits", "mu", "log_var", "pooled"):
            value = getattr(output, name)
            setattr(output, name, None if value is None else value.float())
        total, parts = self.criterion(output, target)
        return total, parts


def descriptors(teacher: Any, images: Tensor) -> Tensor:
    """(n, e) of the same pictures, at the size that the teacher reads."""
    if tuple(images.shape[-2:]) != tuple(teacher.input_hw):
        images = functional.interpolate(images, tuple(teacher.input_hw), mode="bilinear", antialias=True)
    rows: Tensor = teacher.descriptor_only(images)
    return rows.float()


def model_options(recipe: Recipe, attributes: int) -> dict[str, Any]:
    """The options that the recipe's network is built with."""
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.model.options.items()}
    known = _options_known(recipe.model.name)
    if "input_hw" in known:
        options["input_hw"] = (recipe.input_hw[0], recipe.input_hw[1])
    if recipe.model.attributes:
        options["attributes"] = attributes
    if recipe.model.pretrained is not None:
        if "pretrained" not in known:
            raise ReidError(f"recipe {recipe.name}: the model '{recipe.model.name}' cannot start from other weights; "
                            "set model.pretrained=null (--init continues from weights of ours)")
        options["pretrained"] = recipe.model.pretrained
    return options


def _options_known(name: str) -> list[str]:
    module, _, attribute = BACKBONES.get(name, name).partition(":")
    try:
        return list(signature(getattr(import_module(module), attribute)).parameters)
    except (ImportError, AttributeError, ValueError):
        return []  # build_model says what is wrong


def build_learner(recipe: Recipe, identities: int, attributes: int, device: torch.device) -> Learner:
    """Network and loss of a recipe, on the device, with fresh weights by ``recipe.seed``.

    Raises:
        ReidError: they do not go together, or weights to start from cannot be had.
    """
    classes = identities + extra_classes(recipe.loss)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build_model(recipe.model.name, classes if recipe.model.classifier else 0,
                            **model_options(recipe, attributes))
    hw = tuple(int(side) for side in model.input_hw)  # type: ignore[union-attr]
    if hw != tuple(recipe.input_hw):
        raise ReidError(f"recipe {recipe.name}: 'input_hw' is {recipe.input_hw}, but the model '{recipe.model.name}' "
                        f"reads {list(hw)} only")
    with torch.no_grad():
        probe = model.eval()(torch.zeros(1, 3, *hw))
    teacher = None if recipe.teacher is None else load_teacher(recipe.teacher)
    criterion = build_criterion(
        recipe.loss, classes, [f.shape[1] for f in probe.features],
        None if probe.pooled is None else probe.pooled.shape[1],
        0 if probe.attribute_logits is None else probe.attribute_logits.shape[1],
        descriptor_dim=probe.descriptor.shape[1],
        teacher_dim=None if teacher is None else int(teacher.dim),  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(recipe.seed))
    half = recipe.precision == "bfloat16-cpu" or (recipe.precision == "bfloat16" and device.type == "cuda")
    return Learner(model, criterion, half, teacher).to(device).to(memory_format=layout(device, model))


def load_teacher(name: str) -> nn.Module:
    """The network whose descriptors are learnt from: shipped weights by name, or a file of ours.

    Raises:
        ReidError: there is no such thing, or it is damaged.
    """
    from reid_models.shipped import FOLDER, shipped_names
    from reid_models.weights import load_weights

    path = FOLDER / f"{name}.safetensors" if name in shipped_names() else Path(name)
    if not path.is_file():
        known = ", ".join(shipped_names())
        raise ReidError(f"teacher '{name}': neither one of the shipped weights ({known}) nor a file")
    return load_weights(path)[0].eval()


def layout(device: torch.device, model: nn.Module) -> torch.memory_format:
    """How pictures and weights lie: channels last, for tensor cores and for dense convolutions on a CPU.

    On a CPU depth-wise convolutions are the other way round: measured on one core, channels last trains the compact
    network 1.2 times as fast, and 1x with its shuffle blocks 1.5 times as slowly.
    """
    split = any(isinstance(m, nn.Conv2d) and m.groups > 1 for m in model.modules())
    return torch.contiguous_format if device.type == "cpu" and split else torch.channels_last


def load_initial(model: nn.Module, path: str | Path) -> int:
    """Start from other weights of the same network; what does not fit (classifiers) stays fresh.

    Returns:
        How many tensors were taken over.

    Raises:
        ReidError: the file cannot be read, or is of another network.
    """
    from reid_models.weights import read_tensors

    own = model.state_dict()
    found = {k: v for k, v in read_tensors(path).items() if k in own and own[k].shape == v.shape}
    heads = [k for k in own if k not in found and not k.startswith(("classifier", "attribute_head"))]
    if not found or heads:
        raise ReidError(f"{path}: weights of another network than the recipe's "
                        f"({(heads or list(own))[0]} is not in it or has another shape)")
    model.load_state_dict(found, strict=False)
    return len(found)


@torch.no_grad()
def imprint(learner: Learner, data: TrainingSet, hw: tuple[int, int]) -> int:
    """Class weights of losses that ask for it become the sum of unit features of their people's first pictures.

    Returns:
        How many losses' weights were set.
    """
    from reid_models.data.augment import normalise

    terms = [t for t in learner.criterion.terms if any(getattr(one, "imprint", False) for one in t.losses)]  # type: ignore[union-attr]
    if not terms:
        return 0
    by_person = np.argsort(data.pid, kind="stable")
    pid = data.pid[by_person]
    place = np.arange(len(pid)) - np.searchsorted(pid, pid)  # 0, 1, 2 … within each person
    rows = by_person[(place < _IMPRINTED) & (pid >= 0)]
    sums: dict[nn.Module, Tensor] = {}
    learner.model.eval()
    for first in range(0, len(rows), 64):
        images, target = data.batch(rows[first : first + 64])
        top, left = (images.shape[2] - hw[0]) // 2, (images.shape[3] - hw[1]) // 2
        output = learner.model(normalise(images[..., top : top + hw[0], left : left + hw[1]]))
        for term in terms:
            for loss, features in zip(term.losses, read(output, term.on), strict=True):
                total = sums.setdefault(loss, torch.zeros_like(loss.weight))
                total.index_add_(0, target.pid, functional.normalize(features.float(), dim=1).to(total.dtype))
    for loss, total in sums.items():
        loss.weight.copy_(functional.normalize(total, dim=1))  # type: ignore[operator]
    return len(sums)


_IMPRINTED = 4
"""Pictures of a person that its class weights are made of."""


# ---------------------------------------------------------------------- optimiser


def build_optimiser(learner: nn.Module, spec: OptimiserSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser; every group has its factor on the learning rate under ``factor``.

    Raises:
        ReidError: a pattern of ``lr_factors`` finds no parameter.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    used = set()
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = 1.0
        for pattern, value in spec.lr_factors.items():
            if re.search(pattern, name):
                factor = value
                used.add(pattern)
        groups.setdefault(factor, []).append(parameter)
    idle = [pattern for pattern in spec.lr_factors if pattern not in used]
    if idle:
        raise ReidError(f"optimiser.lr_factors: '{idle[0]}' is in no parameter's name, such as "
                        f"{', '.join(n for n, _ in list(learner.named_parameters())[-3:])}")
    made = [{"params": params, "factor": factor, "lr": spec.lr * factor} for factor, params in sorted(groups.items())]
    if spec.name == "sgd":
        return torch.optim.SGD(made, spec.lr, momentum=spec.momentum, nesterov=spec.nesterov,
                               weight_decay=spec.weight_decay)
    return torch.optim.Adam(made, spec.lr, (spec.betas[0], spec.betas[1]), weight_decay=spec.weight_decay,
                            amsgrad=spec.name == "amsgrad")


# ---------------------------------------------------------------------- order of mini-batches


class Order:
    """Which pictures make which mini-batch: a function of (seed, step), so that any step can be gone on from."""

    def __init__(self, recipe: Recipe, data: TrainingSet, world: World) -> None:
        from reid_models.data import PKSampler, RandomSampler

        spec = recipe.sampler
        self.sampler: Any
        if spec.name == "pk":
            if spec.p % world.size:
                raise ReidError(f"sampler.p is {spec.p}, which {world.size} processes cannot share evenly")
            self.sampler = PKSampler(data.pid, spec.p, spec.k, camid=data.camid,
                                     one_camera_half=spec.one_camera_half)
        else:
            if spec.batch % world.size:
                raise ReidError(f"sampler.batch is {spec.batch}, which {world.size} processes cannot share evenly")
            self.sampler = RandomSampler(len(data), spec.batch)
        self.seed, self.world = recipe.seed, world
        self.steps = min(len(self.sampler), recipe.steps_per_epoch or len(self.sampler))
        if not self.steps:
            raise ReidError("the training pictures do not fill one mini-batch; make the batch smaller")
        self._epoch, self._batches = -1, [np.zeros(0, np.int64)]

    def rows(self, step: int) -> Ints:
        """This rank's rows of the step-th mini-batch, counted over all epochs."""
        epoch, place = divmod(step, self.steps)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._batches = [rows for rows, _ in zip(self.sampler.epoch(rng), range(self.steps), strict=False)]
            self._epoch = epoch
        return self.world.share(self._batches[place])

    def seed_of(self, step: int) -> int:
        """A seed for all chance within a step: augmentation, dropout, noise."""
        words = np.random.SeedSequence([self.seed, step, self.world.rank]).generate_state(2)
        return int(words[0]) << 31 ^ int(words[1])

    def augmented(self, data: TrainingSet, augment: Any, steps: Sequence[int], layout: torch.memory_format
                  ) -> Iterator[Tensor]:
        """Pictures of some steps as in training, e.g. for batch normalisation's averages."""
        for step in steps:
            images, _ = data.batch(self.rows(step))
            generator = torch.Generator(images.device).manual_seed(self.seed_of(step))
            yield augment(images, generator).contiguous(memory_format=layout)
