"""A search over learning rate, α and β on a logarithmic scale (confidence paper, section 5.2), resumable at any time.

"Since the hyperparameters … we are trying to optimize have multiplicative effects on the training procedure, the best
method is to perform a log-space search." Optuna proposes; its study lies in an SQLite file. Candidates are scored on
people held out of the training set, never on the test set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_models.errors import ReidError
from reid_models.recipe import Recipe, recipe_from_dict

if TYPE_CHECKING:
    from reid_models.data import ReidDataset
    from reid_models.train import TrainOptions

STUDY = "study.db"
ALPHA = ("cross_entropy", "angular_margin")
"""Terms whose weight is α."""
BETA = ("confidence_penalty", "vib_kl", "fidi", "triplet", "contrastive", "attributes", "center")
"""Terms whose weight is β."""


@dataclass(frozen=True)
class TuneOptions:
    """The search.

    Attributes:
        trials: trainings in all, those of earlier calls included.
        held_out: share of the training identities that candidates are scored on.
        lr, alpha, beta: lowest and highest value of each.
        seed: of the proposals and of the held-out people.
    """

    trials: int = 20
    held_out: float = 0.2
    lr: tuple[float, float] = (1e-5, 1e-2)
    alpha: tuple[float, float] = (0.5, 10.0)
    beta: tuple[float, float] = (1e-3, 1.0)
    seed: int = 1


def tune(recipe: Recipe, datasets: Sequence[ReidDataset], out: str | Path, options: TuneOptions,
         training: TrainOptions) -> dict[str, Any] | None:
    """Search, and write ``best.json`` into ``out``.

    Args:
        recipe: what is varied.
        datasets: only their training parts are used.
        out: the study, and a folder per candidate.
        options: the search.
        training: device and such.

    Returns:
        ``{"mAP": percent, "trials": n, "set": {key: value}}``; None where it was interrupted (call again to go on).

    Raises:
        ReidError: Optuna is missing, a range is none, the folder cannot be made, or a training cannot be done.
    """
    optuna = _optuna()
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReidError(f"the folder {out} cannot be made: {error.strerror}") from error
    ranges = _ranges(recipe, options)
    held = [hold_out(d, options.held_out, options.seed) for d in datasets]
    study = _study(optuna, out, recipe.name, ranges, options.seed)
    while (done := len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))) < options.trials:
        trial = study.ask()
        values = {key: trial.suggest_float(key, *bounds, log=True) for key, bounds in ranges.items()}
        score = _score(recipe, values, held, out, training)
        if score is None:
            return None
        study.tell(trial, score)
        if not training.quiet:
            print(f"{done + 1} of {options.trials}: mAP {score:.2f} with "
                  + ", ".join(f"{k}={v:.3g}" for k, v in values.items()), flush=True)
    best = {"mAP": study.best_value, "trials": options.trials, "set": assignments(recipe, study.best_params)}
    (out / "best.json").write_text(json.dumps(best, indent=1) + "\n", encoding="utf-8")
    return best


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ReidError("tuning needs Optuna; pip install 'mctrack[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, out: Path, name: str, ranges: dict[str, tuple[float, float]], seed: int) -> Any:
    """The folder's study, begun or taken up."""
    study = optuna.create_study(study_name=name, storage=f"sqlite:///{out / STUDY}", direction="maximize",
                                load_if_exists=True)
    # a sampler keeps no state in the study: with the same seed again it would propose the first candidates again
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    _check_study(study, ranges)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        # left by a killed process: the same values again, in the same folder, from their last checkpoint
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _ranges(recipe: Recipe, options: TuneOptions) -> dict[str, tuple[float, float]]:
    names = [term["name"] for term in recipe.loss]
    ranges = {"lr": options.lr}
    if any(n in ALPHA for n in names):
        ranges["alpha"] = options.alpha
    if any(n in BETA for n in names):
        ranges["beta"] = options.beta
    for key, (low, high) in ranges.items():
        if not 0 < low <= high:
            raise ReidError(f"range of {key}: {low} to {high}; expected two numbers above 0, the smaller first")
    return ranges


def _check_study(study: Any, ranges: dict[str, tuple[float, float]]) -> None:
    before = study.user_attrs.get("ranges")
    now = {key: list(bounds) for key, bounds in ranges.items()}
    if before is None:
        study.set_user_attr("ranges", now)
    elif before != now:
        raise ReidError(f"this study was begun with the ranges {before}, now they are {now}; choose another --out")


def assignments(recipe: Recipe, values: dict[str, float]) -> dict[str, float]:
    """The recipe's keys that some values of lr, alpha and beta stand for."""
    keys = {"optimiser.lr": values["lr"]}
    for i, term in enumerate(recipe.loss):
        for names, greek in ((ALPHA, "alpha"), (BETA, "beta")):
            if term["name"] in names and greek in values:
                keys[f"loss.{i}.weight"] = values[greek]
    return keys


def _score(recipe: Recipe, values: dict[str, float], datasets: Sequence[ReidDataset], out: Path,
           training: TrainOptions) -> float | None:
    """Mean mAP, in percent, of a training with these values; None where it was interrupted."""
    from reid_models.checkpoint import has_checkpoint
    from reid_models.strict import set_dotted
    from reid_models.train import CHECKPOINTS, train

    plain = recipe.to_dict()
    for key, value in assignments(recipe, values).items():
        set_dotted(plain, f"{key}={value!r}")
    plain["rerank"] = False
    folder = out / f"trial-{hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:10]}"
    try:
        metrics = train(recipe_from_dict(plain, "tune"), datasets, folder,
                        replace(training, resume=has_checkpoint(folder / CHECKPOINTS)))
    except ReidError as error:
        if "the loss is" not in str(error):
            raise
        return 0.0  # it diverged: as bad as can be
    if metrics is None:
        return None
    return float(np.mean([figures["mAP"] for figures in metrics["scores"].values()]))


def hold_out(dataset: ReidDataset, share: float, seed: int) -> ReidDataset:
    """Take a share of the training people as the test set: one picture of each in each camera asks, the others answer.

    Raises:
        ReidError: too few people, or nobody held out was seen by two cameras.
    """
    train = dataset.train
    people = train.identities
    count = round(share * len(people))
    if not 0 < count < len(people):
        raise ReidError(f"{dataset.name}: {share} of {len(people)} training people cannot be held out")
    rng = np.random.default_rng(seed)
    test = np.isin(train.pid, rng.permutation(people)[:count])
    asked = np.zeros(len(train), bool)
    rows = rng.permutation(np.flatnonzero(test))
    _, first = np.unique(np.stack([train.pid[rows], train.camid[rows]]), axis=1, return_index=True)
    asked[rows[first]] = True
    # where a person has one picture in a camera, it has to answer the others' questions as well
    made = replace(dataset, train=train.take(~test), query=train.take(asked), gallery=train.take(test),
                   protocol="standard")
    if all(len(np.unique(train.camid[train.pid == p])) < 2 for p in np.unique(train.pid[test])):
        raise ReidError(f"{dataset.name}: nobody held out was seen by two cameras, so nothing can be scored")
    return made
