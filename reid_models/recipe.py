"""Recipes: everything that a training is told, as dataclasses read strictly from YAML.

``configs/train-reid/<name>.yaml`` are the shipped ones, one per row of the papers' tables. A recipe may say
``base: name`` and then only what differs; mappings are merged key by key, lists and values are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reid_models.errors import ReidError
from reid_models.schedules import Phase
from reid_models.strict import build, parse_yaml, set_dotted, suggest

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE.parent / "configs" / "train-reid",
            _PACKAGE.parent / "mctrack" / "_resources" / "configs" / "train-reid")
OPTIMISERS = ("sgd", "adam", "amsgrad")


@dataclass
class ModelSpec:
    """Which network."""

    name: str = "robust_reid_1x"
    """A key of ``reid_models.backbones.BACKBONES``."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its factory's own options."""
    classifier: bool = True
    """False: no classifier in the network (the loss owns its class weights, or there is none)."""
    attributes: bool = False
    """Build attribute heads, as many as the dataset has attributes."""
    pretrained: str | None = None
    """``imagenet``, the path of a file with weights, or null: from scratch."""


@dataclass
class OptimiserSpec:
    """How weights are changed."""

    name: str = "sgd"
    """sgd, adam or amsgrad."""
    lr: float = 0.03
    momentum: float = 0.9
    nesterov: bool = False
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    weight_decay: float = 0.0005
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Regular expression → factor on the rate, for parameters whose name it finds: ``{'classifier|neck': 10}``."""
    clip_norm: float | None = None
    """The gradient's norm is cut to this."""


@dataclass
class SamplerSpec:
    """What a mini-batch is made of."""

    name: str = "pk"
    """pk: P identities of K pictures each; random: any ``batch`` pictures."""
    p: int = 8
    k: int = 4
    batch: int = 32
    one_camera_half: bool = False
    """pk: half of the people of every batch come from one camera: who looks different, not what the camera does."""


@dataclass
class SwagSpec:
    """Averaging weights along the way (see :mod:`reid_models.swag`)."""

    start_epoch: float = 350.0
    """Nothing is collected before."""
    every_epochs: float = 35.0
    """Collected at the end of each such stretch after the start: one cosine cycle."""
    rank: int = 15
    samples: int = 10
    """Weights drawn for Bayesian averaging at the end; 0: only the mean is scored."""
    scale: float = 1.0
    bn_batches: int = 100
    """Mini-batches for batch normalisation's averages."""


@dataclass
class GeneratedSpec:
    """Pictures made by networks and added to the training set (SLSR, LSRO, all-in-one, pseudo-label)."""

    clusters: int = 3
    """k-means clusters, one DCGAN each; 1 as in LSRO: one DCGAN for all, and nothing is clustered."""
    images: int = 12000
    """How many pictures are made, over all clusters."""
    feature_epochs: float = 40.0
    """Training, with plain cross-entropy, of the network whose features are clustered."""
    feature_lr: float = 0.001
    gan_steps: int = 2000
    """Mini-batches each DCGAN learns from; 30 epochs of a third of Market-1501 in batches of 64 are about 2000."""
    gan: dict[str, Any] = field(default_factory=dict)
    """Options of ``reid_models.gan.GanOptions``."""


@dataclass
class DataSpec:
    """Pictures and what is done to them."""

    dataset: str = "market1501"
    """The paper's dataset, which ``--dataset`` replaces."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the dataset's reader: ``{boxes: labelled}`` of CUHK03."""
    identities: float = 1.0
    """Share of the training identities that is used (0.25, 0.5, 0.75: nested subsets)."""
    store_hw: list[int] | None = None
    """Height and width at which pictures are kept; default: the network's input."""
    augment: dict[str, Any] = field(default_factory=dict)
    """Options of ``reid_models.data.Augment``."""


@dataclass
class Recipe:
    """A training, and what the paper says it reaches."""

    name: str = ""
    paper: str = ""
    """Which paper, and which row of which table."""
    expected: dict[str, dict[str, float]] = field(default_factory=dict)
    """The paper's figures in percent: ``{market1501: {rank1: 96.2, mAP: 89.7}}``."""
    model: ModelSpec = field(default_factory=ModelSpec)
    input_hw: list[int] = field(default_factory=lambda: [160, 64])
    data: DataSpec = field(default_factory=DataSpec)
    sampler: SamplerSpec = field(default_factory=SamplerSpec)
    loss: list[dict[str, Any]] = field(default_factory=list)
    """Terms of the loss, as ``reid_models.losses.build_criterion`` takes them."""
    teacher: str | None = None
    """Weights of ours, shipped (``robust_reid_compact``) or a ``.safetensors`` file, whose descriptors the losses
    ``imitation`` and ``neighbourhood`` learn from."""
    optimiser: OptimiserSpec = field(default_factory=OptimiserSpec)
    schedule: list[Phase] = field(default_factory=list)
    """Phases one after the other; their lengths add up to the training."""
    swag: SwagSpec | None = None
    generated: GeneratedSpec | None = None
    precision: str = "bfloat16"
    """float32 or bfloat16; pooling, softmax and distances are in float32 either way. A CPU takes bfloat16 only for
    ``bfloat16-cpu``: faster where the processor has it, far slower where it does not."""
    seed: int = 1
    epoch_scale: float = 1.0
    """Factor on all times in epochs: 0.1 trains a tenth as long with the same shape."""
    steps_per_epoch: int | None = None
    """Cut every epoch after this many mini-batches."""
    eval_epochs: float = 10.0
    """Scored on query and gallery this often (in epochs, not scaled), and at the end."""
    eval_batch: int = 64
    """Pictures described at a time. More do not fit a CPU's caches, and large networks get slower by them."""
    rerank: bool = True
    """Score with k-reciprocal re-ranking too, at the end."""

    @property
    def batch(self) -> int:
        """Pictures in a mini-batch."""
        return self.sampler.p * self.sampler.k if self.sampler.name == "pk" else self.sampler.batch

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and YAML."""
        return asdict(self)


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted({p.stem for folder in _FOLDERS for p in folder.glob("*.yaml") if not p.stem.startswith("_")})


def load_recipe(name: str | Path, assignments: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: a shipped recipe's name, or a YAML file.
        assignments: texts ``dotted.key=value``, the value in YAML; ``loss.0.weight=2`` reaches into a list.

    Raises:
        ReidError: it cannot be read, or a key or value does not fit; the message names it.
    """
    path = _find(name, None)
    values = _with_base(path, ())
    values.setdefault("name", path.stem)
    for text in assignments:
        set_dotted(values, text)
    recipe: Recipe = build(Recipe, values, f"recipe {path.stem}")
    check(recipe)
    return recipe


def recipe_from_dict(values: dict[str, Any], origin: str) -> Recipe:
    """The reverse of :meth:`Recipe.to_dict`, just as strict."""
    recipe: Recipe = build(Recipe, values, origin)
    check(recipe)
    return recipe


def check(recipe: Recipe) -> None:
    """Raise ReidError where values do not go together."""
    from reid_models.backbones import BACKBONES
    from reid_models.losses import LEARN_FROM_TEACHER, LOSSES

    where = f"recipe {recipe.name}"
    _known(where, "model.name", recipe.model.name, BACKBONES)
    _known(where, "optimiser.name", recipe.optimiser.name, OPTIMISERS)
    _known(where, "sampler.name", recipe.sampler.name, ("pk", "random"))
    _known(where, "precision", recipe.precision, ("float32", "bfloat16", "bfloat16-cpu"))
    if not recipe.loss:
        raise ReidError(f"{where}: 'loss' is empty, so there is nothing to learn from")
    for i, term in enumerate(recipe.loss):
        _known(where, f"loss.{i}.name", str(term.get("name")), LOSSES)
    taught = [term["name"] for term in recipe.loss if term["name"] in LEARN_FROM_TEACHER]
    if taught and recipe.teacher is None:
        raise ReidError(f"{where}: the loss '{taught[0]}' learns from a teacher; set 'teacher' to weights of ours, "
                        "e.g. teacher=robust_reid_compact")
    if recipe.teacher is not None and not taught:
        raise ReidError(f"{where}: 'teacher' is {recipe.teacher}, but no loss learns from it; add one of "
                        f"{', '.join(LEARN_FROM_TEACHER)}")
    if not recipe.schedule:
        raise ReidError(f"{where}: 'schedule' is empty; give it a phase, e.g. [{{kind: constant, epochs: 10}}]")
    if len(recipe.input_hw) != 2 or min(recipe.input_hw) < 8:
        raise ReidError(f"{where}: 'input_hw' is {recipe.input_hw}, expected [height, width], each from 8")
    if recipe.data.store_hw is not None and (len(recipe.data.store_hw) != 2 or min(recipe.data.store_hw) < 8):
        raise ReidError(f"{where}: 'data.store_hw' is {recipe.data.store_hw}, expected [height, width], each from 8")
    if len(recipe.optimiser.betas) != 2:
        raise ReidError(f"{where}: 'optimiser.betas' is {recipe.optimiser.betas}, expected two numbers")
    _numbers(recipe, where)


def _numbers(recipe: Recipe, where: str) -> None:
    above_zero = {
        "optimiser.lr": recipe.optimiser.lr, "sampler.p": recipe.sampler.p, "sampler.k": recipe.sampler.k,
        "sampler.batch": recipe.sampler.batch, "epoch_scale": recipe.epoch_scale, "eval_batch": recipe.eval_batch,
        "eval_epochs": recipe.eval_epochs, "data.identities": recipe.data.identities,
        "steps_per_epoch": 1 if recipe.steps_per_epoch is None else recipe.steps_per_epoch,
        "optimiser.clip_norm": 1.0 if recipe.optimiser.clip_norm is None else recipe.optimiser.clip_norm,
        "swag.every_epochs": 1.0 if recipe.swag is None else recipe.swag.every_epochs,
        "swag.bn_batches": 1 if recipe.swag is None else recipe.swag.bn_batches,
        "generated.clusters": 1 if recipe.generated is None else recipe.generated.clusters,
        "generated.images": 1 if recipe.generated is None else recipe.generated.images,
    }
    for key, value in above_zero.items():
        if not value > 0:
            raise ReidError(f"{where}: '{key}' is {value}, expected a number above 0")
    if recipe.data.identities > 1:
        raise ReidError(f"{where}: 'data.identities' is {recipe.data.identities}, expected a share up to 1")
    if recipe.seed < 0:
        raise ReidError(f"{where}: 'seed' is {recipe.seed}, expected 0 or more")


def _known(where: str, key: str, value: str, choices: Any) -> None:
    if value not in choices and ":" not in value:
        raise ReidError(f"{where}: '{key}' is '{value}'{suggest(value, choices)}; known: {', '.join(choices)}")


def _find(name: str | Path, beside: Path | None) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise ReidError(f"recipe {path} does not exist")
        return path
    for folder in ((beside,) if beside else ()) + _FOLDERS:
        if folder is not None and (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = recipe_names()
    raise ReidError(f"no recipe '{name}'{suggest(str(name), known)}; recipes: {', '.join(known)}, or a YAML file")


def _with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's values over those of the files it is based on."""
    if path in seen:
        raise ReidError(f"recipe {path}: 'base' leads back to itself")
    values = parse_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    below = _with_base(_find(str(base), path.parent), (*seen, path))
    below.pop("name", None)
    return _merged(below, values)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
