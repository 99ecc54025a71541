"""What a training leaves for people to look at: CSV, TensorBoard, a progress bar with the time left, plots."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

_SCORED = ("step", "epoch", "dataset", "rank1", "rank5", "rank10", "mAP", "mINP")
LOG, SCORES = "log.csv", "scores.csv"
_TIMES = ("images_per_s",)
"""Columns that two runs of one training do not share."""


class Meter:
    """Sums of losses on the device: reading a number would make the GPU wait."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, values: Mapping[str, Tensor]) -> None:
        """One mini-batch's values, detached scalars."""
        for name, value in values.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def take(self) -> dict[str, float]:
        """Means since the last call."""
        means = {name: float(value) / max(self.count, 1) for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint between two lines of the log."""
        return {"sums": {k: v.cpu() for k, v in self.sums.items()}, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """The reverse."""
        self.sums = {k: v.to(device) for k, v in state["sums"].items()}
        self.count = state["count"]


class Table:
    """A CSV file whose lines have a step; on resume the lines beyond the checkpoint's step are dropped."""

    def __init__(self, path: Path, columns: Sequence[str], upto_step: int) -> None:
        kept = []
        if path.exists() and upto_step:
            with open(path, newline="", encoding="utf-8") as file:
                # a killed process may have left half a line at the end
                kept = [row for row in csv.DictReader(file)
                        if all(row.get(c) is not None for c in columns) and int(row["step"]) <= upto_step]
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - lives as long as this object
        self._writer = csv.DictWriter(self._file, columns, restval="", extrasaction="ignore")
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._file.flush()

    def write(self, row: Mapping[str, Any]) -> None:
        """One line, on its way to the disk at once."""
        self._writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()})
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TrainLog:
    """Everything that is said while a training runs. A context manager; other ranks than the first stay silent."""

    def __init__(self, out: Path, total_steps: int, steps_per_epoch: int, terms: Sequence[str], start: int,
                 quiet: bool, name: str) -> None:
        self.total, self.per_epoch, self.quiet = total_steps, steps_per_epoch, quiet
        self.table = Table(out / LOG, ("step", "epoch", "lr", "loss", *terms, "grad_norm", *_TIMES), start)
        self.scores = Table(out / SCORES, _SCORED, start)
        self._board = _tensorboard(out / "tensorboard", start)
        self._bar = None if quiet or not sys.stderr.isatty() else _progress(total_steps, start, name)
        self._began, self._first, self._spoke = time.monotonic(), start, 0.0

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.table.close()
        self.scores.close()
        if self._board is not None:
            self._board.close()
        if self._bar is not None:
            self._bar[0].stop()

    def step(self, done: int) -> None:
        """``done`` mini-batches are done."""
        if self._bar is not None:
            self._bar[0].update(self._bar[1], completed=done)

    def losses(self, done: int, means: Mapping[str, float], lr: float, images_per_s: float) -> None:
        """A line of the log."""
        epoch = done / self.per_epoch
        self.table.write({"step": done, "epoch": epoch, "lr": lr, **means, "images_per_s": round(images_per_s, 1)})
        if self._board is not None:
            for name, value in {**means, "lr": lr, "images_per_s": images_per_s}.items():
                self._board.add_scalar(f"train/{name}", value, done)
        if self._bar is not None:
            self._bar[0].update(self._bar[1], description=f"loss {means.get('loss', float('nan')):.3f} "
                                                          f"{images_per_s:.0f} images/s")
        elif not self.quiet and (time.monotonic() - self._spoke > 10 or done >= self.total):
            self._spoke = time.monotonic()
            left = (self._spoke - self._began) / max(done - self._first, 1) * (self.total - done)
            self.say(f"epoch {epoch:.2f} of {self.total / self.per_epoch:.4g}: loss {means.get('loss', 0):.4f}, lr "
                     f"{lr:.3g}, {images_per_s:.0f} images/s, {_clock(left)} left")

    def scored(self, done: int, dataset: str, figures: Mapping[str, float]) -> None:
        """Scores on query and gallery."""
        self.scores.write({"step": done, "epoch": done / self.per_epoch, "dataset": dataset, **figures})
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{dataset}/{name}", value, done)
        self.say(f"epoch {done / self.per_epoch:.4g}: {dataset} rank-1 {figures['rank1']:.1f}, "
                 f"mAP {figures['mAP']:.1f}, mINP {figures['mINP']:.1f}")

    def say(self, text: str) -> None:
        """A line for people."""
        if self._bar is not None:
            self._bar[0].console.print(text, highlight=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)


def _tensorboard(folder: Path, start: int) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)


def _progress(total: int, start: int, name: str) -> Any:
    from rich import progress as p
    from rich.console import Console

    bar = p.Progress(p.TextColumn(name), p.BarColumn(), p.MofNCompleteColumn(), p.TextColumn("{task.description}"),
                     p.TimeElapsedColumn(), p.TextColumn("ETA"), p.TimeRemainingColumn(), console=Console(stderr=True))
    task = bar.add_task("", total=total, completed=start)
    bar.start()
    return bar, task


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def plot_losses(out: Path) -> None:
    """``loss.png``: every term of the log over the epochs, and the learning rate."""
    with open(out / LOG, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return
    epoch = [float(r["epoch"]) for r in rows]
    figure, (above, below) = _figure(2, (7, 6))
    for name in rows[0]:
        if name not in ("step", "epoch", "lr", "grad_norm", *_TIMES) and rows[0][name] != "":
            above.plot(epoch, [float(r[name] or "nan") for r in rows], label=name, lw=2 if name == "loss" else 1)
    above.legend()
    above.set_ylabel("loss")
    below.semilogy(epoch, [max(float(r["lr"]), 1e-12) for r in rows])
    below.set(xlabel="epoch", ylabel="learning rate")
    figure.savefig(out / "loss.png", dpi=120)


def plot_cmc(out: Path, curves: Mapping[str, NDArray[np.float64]]) -> None:
    """``cmc.png``: share of the queries with a true match among the first r, one curve per dataset."""
    figure, (axes,) = _figure(1, (6, 4))
    for name, cmc in curves.items():
        axes.plot(np.arange(1, len(cmc) + 1), 100 * cmc, marker=".", label=f"{name}: rank-1 {100 * cmc[0]:.1f}%")
    axes.set(xlabel="rank", ylabel="found (%)", ylim=(None, 100.5))
    axes.legend()
    figure.savefig(out / "cmc.png", dpi=120)


def plot_distances(out: Path, name: str, same: NDArray[np.float64], different: NDArray[np.float64]) -> None:
    """``distances-<name>.png``: histograms of the distances of same and of different people across cameras."""
    figure, (axes,) = _figure(1, (6, 4))
    edges = np.linspace(0, max(float(same.max(initial=0)), float(different.max(initial=0)), 1e-3), 81)
    for values, label in ((same, "same person"), (different, "different people")):
        axes.hist(values, edges, density=True, alpha=0.6, label=f"{label} ({len(values)} pairs)")
    axes.set(xlabel="cosine distance", ylabel="density", title=name)
    axes.legend()
    figure.savefig(out / f"distances-{name}.png", dpi=120)


def _figure(rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure without pyplot, which keeps global state and may want a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 1, squeeze=False)[:, 0]
