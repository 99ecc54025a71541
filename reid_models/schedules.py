"""Learning rates over time: pure functions of the time trained, so that a resumed training continues exactly.

Time ``t`` counts epochs, t = (steps done + 1) / steps per epoch: at the last step of epoch e it is e, which is what
the papers' formulas are written in. A schedule is a list of phases, one after the other; each gives the factor on the
optimiser's learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from reid_models.errors import ReidError

KINDS = ("constant", "steps", "cyclic", "inverse")


@dataclass
class Phase:
    """One stretch of a schedule; times in epochs from the phase's start, values as shares of the optimiser's rate.

    ``steps`` with a warm-up is eq. (1) of Robust-ReID (Lawen et al.): lr·t/10 up to epoch 10, lr up to 150, lr/10 up
    to 225, lr/100 up to 350. ``cyclic`` is its section 3.1 (SWAG): cosine annealing in cycles, every cycle's height
    0.7 of the last one's. ``inverse`` is SLSR's section 5.2: lr·(1 + gamma·i)^−power after i mini-batches.
    """

    kind: str = "steps"
    """constant, steps, cyclic or inverse."""
    epochs: float = 100.0
    """Length of the phase."""
    scale: float = 1.0
    """Factor on the optimiser's learning rate for the whole phase."""
    warmup_epochs: float = 0.0
    """The rate grows linearly over this time."""
    warmup_from: float = 0.0
    """Share of the rate at which the warm-up starts."""
    milestones: list[float] = field(default_factory=list)
    """steps: epochs after which the rate is multiplied by ``factor``."""
    factor: float = 0.1
    cycle_epochs: float = 35.0
    cycle_decay: float = 0.7
    floor: float = 0.0
    """cyclic: share of a cycle's height that is left at its end."""
    gamma: float = 0.1
    power: float = 0.025

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ReidError(f"schedule kind '{self.kind}': expected {', '.join(KINDS)}")
        if not (self.epochs > 0 and self.cycle_epochs > 0 and self.warmup_epochs >= 0 and self.scale >= 0):
            raise ReidError("schedule: 'epochs' and 'cycle_epochs' have to be above 0, 'warmup_epochs' and 'scale' not "
                            "below")
        if self.milestones != sorted(self.milestones):
            raise ReidError(f"schedule: 'milestones' {self.milestones} have to increase")

    def at(self, t: float, iteration: float) -> float:
        """Factor at ``t`` epochs, the ``iteration``-th mini-batch (from 0) of the phase."""
        warm = 1.0
        if t < self.warmup_epochs:
            warm = self.warmup_from + (1 - self.warmup_from) * t / self.warmup_epochs
        if self.kind == "steps":
            # "10 < t <= 150": a milestone's own epoch still has the old rate. The slack covers t = steps/steps.
            shape = self.factor ** sum(t > m + 1e-9 for m in self.milestones)
        elif self.kind == "cyclic":
            shape = self._cyclic(t)
        elif self.kind == "inverse":
            shape = (1 + self.gamma * iteration) ** -self.power
        else:
            shape = 1.0
        return self.scale * warm * shape

    def _cyclic(self, t: float) -> float:
        """A cycle's last step (t a whole multiple) still belongs to it: that is where SWAG takes its weights."""
        cycle = max(math.ceil(t / self.cycle_epochs - 1e-9) - 1, 0)
        place = min(t / self.cycle_epochs - cycle, 1.0)
        height: float = self.cycle_decay**cycle
        return height * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * place)))


class Schedule:
    """Phases one after the other, all times multiplied by ``scale``.

    ``length`` is what the phases come to in steps, perhaps broken; ``total_steps`` are taken.

    Args:
        phases: at least one.
        steps_per_epoch: mini-batches in an epoch.
        scale: 0.1 trains a tenth as long with the same shape (milestones, warm-up and cycles shrink alike).
    """

    def __init__(self, phases: Sequence[Phase], steps_per_epoch: int, scale: float = 1.0) -> None:
        if not phases or steps_per_epoch < 1 or not scale > 0:
            raise ReidError("a schedule needs a phase, at least one step per epoch and a scale above 0")
        self.phases = tuple(phases)
        self.steps_per_epoch = steps_per_epoch
        self.scale = scale
        lengths = [p.epochs * scale * steps_per_epoch for p in phases]
        self._ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
        self.length = self._ends[-1]
        self.total_steps = max(1, round(self.length))

    @property
    def epochs(self) -> int:
        """Whole epochs, the last one perhaps cut short."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    def factor(self, step: int) -> float:
        """Factor on the learning rate for step ``step``, counted from 0 over the whole training."""
        phase, start = len(self.phases) - 1, 0.0
        for i, end in enumerate(self._ends):
            if step + 1 <= end + 1e-6:
                phase = i
                break
        if phase:
            start = self._ends[phase - 1]
        # phases of broken length end between two steps: the last step is at the end, not in a cycle that never comes
        done = min(step + 1, self._ends[phase]) - start
        return self.phases[phase].at(done / (self.steps_per_epoch * self.scale), max(step - start, 0.0) / self.scale)
