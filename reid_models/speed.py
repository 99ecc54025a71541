"""Crops per second on one core through ONNX Runtime, of several networks side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reid_models.backbones import build_model
from reid_models.export import onnx_bytes


@dataclass(frozen=True)
class Speed:
    """Crops per second of one thread's CPU time: ``best`` of all runs, and the ``median``."""

    name: str
    best: float
    median: float


def settled(model: nn.Module, hw: tuple[int, int], batches: int = 2) -> nn.Module:
    """Give batch normalisation the statistics of random pictures, and return the model in evaluation mode.

    Fresh statistics (mean 0, variance 1) let the numbers of a deep network shrink until they are denormal, which
    processors compute many times slower: the speed would not be that of a trained network.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average of all batches
        norm.reset_running_stats()
    model.train()
    with torch.no_grad():
        for _ in range(batches):
            model(torch.randn(4, 3, *hw, generator=generator))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def measure(names: Sequence[str], batch: int = 8, rounds: int = 12) -> Iterator[Speed]:
    """Time networks with random weights in turns, one thread each, after one run that is not timed.

    In turns, so that what else happens on the machine meets all of them alike.
    """
    sessions: list[tuple[Any, NDArray[np.float32]]] = []
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for name in names:
            model = build_model(name)
            hw = tuple(model.input_hw)  # type: ignore[arg-type]
            # compared at no batch: random weights are ill-conditioned, and it is only timed
            network, _ = onnx_bytes(settled(model, hw), batches=())
            sessions.append((_session(network), rng.standard_normal((batch, 3, *hw), np.float32)))
    seconds: list[list[float]] = [[] for _ in names]
    for turn in range(rounds + 1):
        for (session, images), times in zip(sessions, seconds, strict=True):
            start = time.thread_time()
            session.run(None, {"images": images})
            if turn:
                times.append(time.thread_time() - start)
    for name, times in zip(names, seconds, strict=True):
        yield Speed(name, batch / min(times), batch / float(np.median(times)))


def _session(network: bytes) -> Any:
    from reid_models.onnx import onnx_runtime

    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
