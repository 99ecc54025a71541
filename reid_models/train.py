"""The training loop, from top to bottom; what it builds is in ``train_setup``, ``train_data``, ``train_score``.

Everything that happens in step s is a function of (seed, s) and of the state after step s − 1: the order of pictures,
augmentation, dropout. So a training that was killed goes on from its last checkpoint as if nothing had been: on a CPU
with the very same losses.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from reid_models.atomic import write_atomic
from reid_models.card import read_card
from reid_models.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from reid_models.errors import ReidError
from reid_models.recipe import Recipe, recipe_from_dict
from reid_models.schedules import Schedule
from reid_models.swag import Swag, bayesian_average, reestimate_batchnorm
from reid_models.train_data import TrainingSet, training_set
from reid_models.train_log import Meter, TrainLog, plot_cmc, plot_distances, plot_losses
from reid_models.train_score import Described, TestSet, calibrate, curve, summary
from reid_models.train_setup import (
    Interrupts,
    Learner,
    Order,
    World,
    build_learner,
    build_optimiser,
    imprint,
    layout,
    load_initial,
    model_options,
)

if TYPE_CHECKING:
    from reid_models.data import ReidDataset

CHECKPOINTS, WEIGHTS, METRICS = "checkpoints", "weights.safetensors", "metrics.json"
_LOG_STEPS = 20


@dataclass(frozen=True)
class TrainOptions:
    """What does not change the result.

    Attributes:
        resume: go on from the last good checkpoint in ``out``; start where there is none.
        init: weights of ours to start from.
        device: auto, cpu, cuda, cuda:N.
        checkpoint_s: seconds between checkpoints.
        threads: for decoding pictures.
        quiet: say nothing.
        plots: draw losses, CMC and distances at the end.
    """

    resume: bool = False
    init: Path | None = None
    device: str = "auto"
    checkpoint_s: float = 60.0
    threads: int = 4
    quiet: bool = False
    plots: bool = True


def train(recipe: Recipe, datasets: Sequence[ReidDataset], out: str | Path,
          options: TrainOptions = TrainOptions()) -> dict[str, Any] | None:
    """Train a recipe and write weights with their card, figures, logs and plots into ``out``.

    Args:
        recipe: what to do.
        datasets: one or several; trained on jointly, scored one by one.
        out: folder of the results.
        options: how to do it.

    Returns:
        What ``metrics.json`` holds; None where SIGINT or SIGTERM ended it early (resume to go on).

    Raises:
        ReidError: recipe, data, weights or checkpoint cannot be used, or the loss is no longer a number.
    """
    out, world = Path(out), World.join(options.device)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReidError(f"the folder {out} cannot be made: {error.strerror}") from error
    if options.resume and (out / METRICS).exists() and (out / WEIGHTS).exists():
        _same_recipe(read_card(out / WEIGHTS)["recipe"], recipe, out)
        return dict(json.loads((out / METRICS).read_text(encoding="utf-8")))
    # The process's own random state is as before afterwards: networks draw dropout and noise from the global one.
    with torch.random.fork_rng(devices=[world.device] if world.device.type == "cuda" else []), Interrupts() as stop:
        data = training_set(datasets, recipe, world.device, options.threads)
        if recipe.generated is not None:
            from reid_models.train_generated import add_generated

            more = add_generated(recipe, data, datasets, out, options, world)
            if more is None or stop.asked:
                return None
            data = more
        training = Training(recipe, data, datasets, out, options, world)
        if not training.run(stop):
            return None
        return training.finish() if world.is_first else {}


class Training:
    """One training from its first to its last step."""

    def __init__(self, recipe: Recipe, data: TrainingSet, datasets: Sequence[ReidDataset], out: Path,
                 options: TrainOptions, world: World) -> None:
        from reid_models.data import Augment

        self.recipe, self.data, self.datasets = recipe, data, datasets
        self.out, self.options, self.world = out, options, world
        self.device = world.device
        self.learner: Learner = build_learner(recipe, data.identities, len(data.attribute_names), self.device)
        self.model: nn.Module = self.learner.model
        self.layout = layout(self.device, self.model)
        self.taken = load_initial(self.model, options.init) if options.init else 0
        going_on = options.resume and has_checkpoint(out / CHECKPOINTS)
        if self.taken and not going_on:
            imprint(self.learner, data, (recipe.input_hw[0], recipe.input_hw[1]))
        self.optimiser = build_optimiser(self.learner, recipe.optimiser)
        self.order = Order(recipe, data, world)
        self.schedule = Schedule(recipe.schedule, self.order.steps, recipe.epoch_scale)
        self.augment = Augment({"hw": list(recipe.input_hw), **recipe.data.augment})
        self.swag = Swag(self.learner.model, recipe.swag.rank) if recipe.swag else None
        self.tests = [t for d in _told_apart(datasets) if (t := TestSet.of(d, _hw(recipe), options.threads))]
        self.meter, self.done, self.seconds = Meter(), 0, 0.0
        if going_on:
            self._resume()

    # ------------------------------------------------------------------ the loop

    def run(self, stop: Interrupts) -> bool:
        """All steps that are left; False where it was asked to stop."""
        net = self._parallel()
        steps, total = self.order.steps, self.schedule.total_steps
        log_steps = min(_LOG_STEPS, steps)
        eval_steps = max(1, round(self.recipe.eval_epochs * steps))
        terms = [term.name.replace("#", "_") for term in self.learner.criterion.terms]  # type: ignore[union-attr]
        since, saved = self.done, time.monotonic()
        with self._log(terms) as log:
            began = time.monotonic()
            while self.done < total:
                lr = self._set_rates(self.done)
                self.meter.add(self._step(net, self.done))
                self.done += 1
                self._collect(self.done)
                log.step(self.done)
                if self.done % log_steps == 0 or self.done == total:
                    means, spent = self._finite(self.world.mean(self.meter.take())), time.monotonic() - began
                    log.losses(self.done, means, lr, (self.done - since) * self.recipe.batch / max(spent, 1e-9))
                    self.seconds += spent
                    since, began = self.done, time.monotonic()
                paused = time.monotonic()
                if self.world.is_first and self.done % eval_steps == 0 and self.done < total:
                    self._score(log)
                if self._stopping(stop):
                    self._save()
                    log.say(f"stopped after step {self.done} of {total}; go on with --resume")
                    return False
                if time.monotonic() - saved > self.options.checkpoint_s or self.done == total:
                    self._save()
                    saved = time.monotonic()
                began += time.monotonic() - paused
        return True

    def _step(self, net: nn.Module, step: int) -> dict[str, torch.Tensor]:
        """One mini-batch: look, compare, follow the gradient."""
        net.train()
        seed = self.order.seed_of(step)
        torch.manual_seed(seed)
        pictures, target = self.data.batch(self.order.rows(step))
        images = self.augment(pictures, torch.Generator(self.device).manual_seed(seed))
        total, parts = net(images.contiguous(memory_format=self.layout), target)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        values = {"loss": total, **parts}
        if self.recipe.optimiser.clip_norm is not None:
            values["grad_norm"] = nn.utils.clip_grad_norm_(self.learner.parameters(), self.recipe.optimiser.clip_norm)
        self.optimiser.step()
        return values

    def _set_rates(self, step: int) -> float:
        """Learning rates of a step; returns the one of factor 1."""
        lr = self.recipe.optimiser.lr * self.schedule.factor(step)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group["factor"]
        return lr

    def _collect(self, done: int) -> None:
        """SWAG takes the weights at the end of every stretch after its start: the next step would be beyond it."""
        if self.swag is None or self.recipe.swag is None:
            return
        last = done == self.schedule.total_steps
        passed = self._stretches(done)
        due = math.ceil(passed - 1e-9)
        ends = passed > due - 1e-9 if last else self._stretches(done + 1) > due + 1e-9
        if (due >= 1 and ends) or (last and not self.swag.count):
            self.swag.collect(self.model)

    def _stretches(self, done: int) -> float:
        """Of SWAG, how many have passed after so many steps; the last step ends the schedule, which may be broken."""
        assert self.recipe.swag is not None
        steps = self.schedule.length if done == self.schedule.total_steps else done
        epochs = steps / (self.order.steps * self.recipe.epoch_scale)
        return (epochs - self.recipe.swag.start_epoch) / self.recipe.swag.every_epochs

    def _finite(self, means: dict[str, float]) -> dict[str, float]:
        if not math.isfinite(means["loss"]):
            raise ReidError(f"{self.out}: the loss is {means['loss']} after step {self.done}; lower optimiser.lr, set "
                            "optimiser.clip_norm, or resume from the last checkpoint with another recipe")
        return means

    # ------------------------------------------------------------------ keeping

    def _save(self) -> None:
        if not self.world.is_first:
            return
        if "loss" in self.meter.sums:  # a checkpoint of weights that are no numbers would replace the good one
            self._finite({"loss": float(self.meter.sums["loss"])})
        save_checkpoint(self.out / CHECKPOINTS, {
            "recipe": self.recipe.to_dict(), "data": self.data.fingerprint(), "done": self.done,
            "model": self.model.state_dict(), "criterion": self.learner.criterion.state_dict(),
            "optimiser": self.optimiser.state_dict(), "meter": self.meter.state_dict(), "seconds": self.seconds,
            "swag": self.swag.state_dict() if self.swag else None,
        })

    def _resume(self) -> None:
        state, warning = load_checkpoint(self.out / CHECKPOINTS)
        _same_recipe(state["recipe"], self.recipe, self.out)
        if state["data"] != self.data.fingerprint():
            raise ReidError(f"{self.out} was begun with other training pictures; resume with the same data")
        self.model.load_state_dict(state["model"])
        self.learner.criterion.load_state_dict(state["criterion"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.meter.load_state_dict(state["meter"], self.device)
        if self.swag is not None:
            self.swag.load_state_dict(state["swag"])
        self.done, self.seconds = state["done"], state["seconds"]
        self._warning = warning

    _warning: str | None = None

    # ------------------------------------------------------------------ scores and results

    def _score(self, log: TrainLog) -> list[Described]:
        described = [t.describe(self.model, self.recipe.eval_batch, self.device) for t in self.tests]
        for one in described:
            log.scored(self.done, one.test.name, summary(one.scores()))
        return described

    def finish(self) -> dict[str, Any]:
        """Scores of the final weights, calibration, plots, weights with their card, ``metrics.json``."""
        metrics: dict[str, Any] = {
            "recipe": self.recipe.name, "model": self.recipe.model.name, "paper": self.recipe.paper,
            "expected": self.recipe.expected, "data": [d.name for d in self.datasets],
            "identities": self.data.identities, "images": len(self.data),
            "real_images": int((self.data.pid >= 0).sum()), "steps": self.done,
            "epochs": self.done / self.order.steps, "seed": self.recipe.seed,
            "images_per_s": round(self.done * self.recipe.batch / max(self.seconds, 1e-9), 1),
            "device": str(self.device), "scores": {}, "protocols": {}, "reranked": {}}
        if self.swag is not None:
            metrics["swag"] = self._apply_swag()
        described = [t.describe(self.model, self.recipe.eval_batch, self.device) for t in self.tests]
        rng = np.random.default_rng(self.recipe.seed)
        curves, same, different = {}, [], []
        for one in described:
            scores, name = one.scores(), one.test.name
            metrics["scores"][name] = summary(scores)
            metrics["protocols"][name] = one.test.dataset.protocol
            if self.recipe.rerank and (reranked := one.reranked()) is not None:
                metrics["reranked"][name] = summary(reranked)
            curves[name] = curve(scores, 20)
            pairs = one.distances(rng)
            if self.options.plots:
                plot_distances(self.out, name, *pairs)
            same.append(pairs[0])
            different.append(pairs[1])
        calibration = calibrate(np.concatenate(same), np.concatenate(different), self._source()) if same else None
        if self.options.plots:
            plot_losses(self.out)
        if self.options.plots and curves:
            plot_cmc(self.out, curves)
        self._write_weights(metrics, calibration)
        write_atomic(self.out / METRICS, (json.dumps(metrics, indent=1) + "\n").encode())
        return metrics

    def _apply_swag(self) -> dict[str, Any]:
        """Deploy the mean; score the Bayesian average beside it."""
        assert self.swag is not None
        assert self.recipe.swag is not None
        spec, first = self.recipe.swag, self.done
        steps = range(first, first + min(spec.bn_batches, self.order.steps))

        def training() -> Any:
            return self.order.augmented(self.data, self.augment, list(steps), self.layout)

        self.swag.load_mean(self.model)
        reestimate_batchnorm(self.model, training())
        averaged: dict[str, Any] = {}
        for test in self.tests if spec.samples else []:
            sides = []
            for images in (test.query, test.gallery):
                # the same seed for both sides: the same weights describe queries and gallery
                generator = torch.Generator(self.device).manual_seed(self.recipe.seed)
                batches = partial(images.batches, self.recipe.eval_batch, self.device)
                rows, _ = bayesian_average(
                    self.model, self.swag, batches, training, spec.samples, generator, spec.scale)
                sides.append(rows.cpu().numpy())
            averaged[test.name] = summary(Described(test, *sides).scores())
        return {"collected": self.swag.count, "samples": spec.samples, "bayesian_average": averaged}

    def _source(self) -> str:
        names = ", ".join(t.name for t in self.tests)
        return f"query against gallery of {names}, other cameras only, people unseen in training ({self.recipe.name})"

    def _write_weights(self, metrics: dict[str, Any], calibration: Any) -> None:
        from reid_models.weights import save_weights

        options = {k: v for k, v in model_options(self.recipe, len(self.data.attribute_names)).items()
                   if k != "pretrained"}
        save_weights(self.out / WEIGHTS, self.model, {
            "model": self.recipe.model.name, "options": options, "recipe": self.recipe.to_dict(),
            "data": {"names": metrics["data"], "identities": self.data.identities, "images": len(self.data)},
            "seed": self.recipe.seed,
            "figures": {k: metrics[k] for k in ("scores", "reranked", "epochs") if k in metrics},
            "calibration": None if calibration is None else calibration.to_dict()})

    # ------------------------------------------------------------------ small parts

    def _parallel(self) -> nn.Module:
        if self.world.size == 1:
            return self.learner
        if self.device.type == "cuda":
            self.learner = nn.SyncBatchNorm.convert_sync_batchnorm(self.learner)
            self.model = self.learner.model
        # a loss need not read every output: batch-hard alone leaves a classifier without gradient
        return nn.parallel.DistributedDataParallel(self.learner, find_unused_parameters=True)

    def _log(self, terms: list[str]) -> TrainLog:
        folder = self.out if self.world.is_first else self.out / f"rank{self.world.rank}"
        folder.mkdir(exist_ok=True)
        log = TrainLog(folder, self.schedule.total_steps, self.order.steps, terms, self.done,
                       self.options.quiet or not self.world.is_first, self.recipe.name)
        if self._warning:
            log.say(self._warning)
        if self.taken:
            log.say(f"{self.taken} tensors taken from {self.options.init}")
        return log

    def _stopping(self, stop: Interrupts) -> bool:
        # ranks have to agree, which costs a message: not at every step
        return stop.asked if self.world.size == 1 else self.done % _LOG_STEPS == 0 and self.world.any(stop.asked)


def _same_recipe(before: dict[str, Any], recipe: Recipe, out: Path) -> None:
    """Raise unless what is in ``out`` was begun with this recipe."""
    changed = _differences(recipe_from_dict(before, str(out)).to_dict(), recipe.to_dict())  # newer keys: the default
    if changed:
        raise ReidError(f"{out} was begun with another recipe ({', '.join(changed[:3])}); resume with the same, or "
                        "start anew in another folder")


def _told_apart(datasets: Sequence[ReidDataset]) -> list[ReidDataset]:
    """Two of one kind score under names of their own: ``market1501``, ``market1501-2``."""
    seen: Counter[str] = Counter()
    named = []
    for dataset in datasets:
        seen[dataset.name] += 1
        again = f"-{seen[dataset.name]}" if seen[dataset.name] > 1 else ""
        named.append(replace(dataset, name=dataset.name + again))
    return named


def _hw(recipe: Recipe) -> tuple[int, int]:
    return recipe.input_hw[0], recipe.input_hw[1]


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted keys with both values, where two recipes differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key in sorted(set(old) | set(new))
                for line in _differences(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [f"{prefix.rstrip('.')}: {old} before, {new} now"]
