"""Weights of our models in a file that cannot run anything and that tells when it is damaged.

A ``.safetensors`` file holds the tensors without classifiers and, in its metadata, the card: model and options to
build it with, recipe, data, seed, figures, calibration, and the SHA-256 of the tensors. The card also lies next to
the file as ``name.json``, for people and other programs; what counts is the one inside, which cannot get separated.
Other people's weights (``.pth``, ``.pt``, ``.bin``) are read by torch's restricted unpickler only.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid_models.atomic import write_atomic
from reid_models.backbones import BACKBONES, build_model
from reid_models.calibration import Calibration
from reid_models.card import (
    CARD_KEYS,
    CHECKSUM_KEY,
    FORMAT,
    METADATA_KEY,
    OWN_KEYS,
    existing,
    first_line,
    read_card,
    text_digest,
)
from reid_models.eight_bits import packed, unpacked
from reid_models.errors import ReidError

_BUILD_ONLY = ("pretrained", "num_classes")
_NEAR = {16: 5e-3, 8: 5e-2}
"""Largest difference of a descriptor's numbers that so many bits for every weight may make."""


def save_weights(path: str | Path, model: nn.Module, card: Mapping[str, Any]) -> dict[str, Any]:
    """Save a model's weights without its classifiers, and its card.

    Args:
        path: a name that ends in ``.safetensors``; a file of that name is replaced in one step.
        model: as :func:`reid_models.backbones.build_model` makes them.
        card: some of :data:`reid_models.card.CARD_KEYS`, as JSON would hold it. ``model`` is the model's own name
            unless given, ``options`` are those that it was built with (default: the model's attribute ``options``);
            ``calibration`` may be a :class:`Calibration`.

    Returns:
        The card as saved.

    Raises:
        ReidError: the card does not fit the model, or the file cannot be written.
    """
    path = _checked_name(path)
    full = _complete(card, model, path)
    full["dim"], full["input_hw"] = int(model.dim), [int(side) for side in model.input_hw]  # type: ignore[arg-type, union-attr]
    wanted = _shapes(full, str(path))
    state = model.state_dict()
    wrong = [n for n, shape in wanted.items() if n not in state or tuple(state[n].shape) != shape]
    if wrong:
        raise ReidError(f"{path}: the card's options {full['options']} build another model than this one "
                        f"({wrong[0]} differs); put the options it was built with into the card")
    if not all(bool(torch.isfinite(state[n]).all()) for n in wanted):
        raise ReidError(f"{path}: the model has weights that are not finite numbers; not saved")
    # Copies: two names may share memory, which the format does not allow.
    tensors = {name: state[name].detach().to("cpu").contiguous().clone() for name in wanted}
    _check_answer(model, full, tensors, path)
    full["sha256"] = digest(tensors)
    _write(path, tensors, full)
    return full


def load_weights(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Build the model that a file of :func:`save_weights` holds.

    Returns:
        The model on the CPU, in evaluation mode, without classifiers; and its card.

    Raises:
        ReidError: the file is missing, damaged, or of another kind; one line.
    """
    card, stored = _read(Path(path))
    tensors = unpacked(stored)
    wanted = _shapes(card, str(path))
    for name, shape in wanted.items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise ReidError(f"{path}: does not fit the model '{card['model']}' that its card names ({name} differs)")
    return _filled(card, {name: tensors[name] for name in wanted}, str(path)), card


def update_card(path: str | Path, **changes: Any) -> dict[str, Any]:
    """Change what a card says (``calibration=…``, ``figures=…``) and leave the weights as they are.

    Returns:
        The new card.

    Raises:
        ReidError: an unknown key, or a file that cannot be read or written.
    """
    path = _checked_name(path)
    card, tensors = _read(path)
    unknown = sorted(set(changes) - set(CARD_KEYS[2:]))
    if unknown:
        raise ReidError(f"{path}: '{unknown[0]}' of a card cannot be changed; can be: {', '.join(CARD_KEYS[2:])}")
    card = _as_json(card | changes, path)
    _write(path, tensors, card)
    return card


def shrink_weights(path: str | Path, out: str | Path, bits: int) -> dict[str, Any]:
    """Write a file of :func:`save_weights` anew at about half (16 bits) or a quarter (8 bits) of its size.

    Matrices and kernels only, with 8 bits as in :mod:`reid_models.eight_bits`; biases and normalisations keep their
    32 bits. Whoever loads the file computes in 32 bits.

    Returns:
        The new card; all but its ``sha256`` is the old one.

    Raises:
        ReidError: a file that cannot be read or written, or a weight beyond what 16 bits hold.
    """
    path, out = Path(path), _checked_name(out)
    card, stored = _read(path)
    tensors = unpacked(stored)
    if bits == 8:
        kept = packed({name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()})
    elif bits == 16:
        kept = {name: t.half() if t.dtype == torch.float32 and t.ndim > 1 else t for name, t in tensors.items()}
    else:
        raise ReidError(f"weights are kept at 8 or 16 bits, not {bits}")
    for name, tensor in kept.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ReidError(f"{path}: {name} holds a number beyond 65,504, which 16 bits cannot; not written")
    _check_answer(_filled(card, tensors, str(path)), card, unpacked(kept), out, _NEAR[bits])
    card = card | {"sha256": digest(kept)}
    _write(out, kept, card)
    return card


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name of a ``.safetensors`` file or of another's ``.pth``, ``.pt`` or ``.bin``, on the CPU.

    A pickle can hold programs; only torch's restricted unpickler reads it here, which runs none.

    Raises:
        ReidError: the file is missing or damaged, holds no tensors, or anything else than data.
    """
    path = existing(path)
    if path.suffix.lower() == ".safetensors":
        return unpacked(_tensors(path))
    if path.suffix.lower() not in (".pth", ".pt", ".bin", ".ckpt", ".tar"):
        raise ReidError(f"{path}: expected weights in a .safetensors, .pth, .pt or .bin file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on how old or new the pickle's protocol is
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, torch and the file system have their own classes
        raise ReidError(f"{path}: not weights that can be read safely ({first_line(error)}); convert the file to "
                        "safetensors where it comes from") from error
    for key in ("state_dict", "model", "model_state_dict"):  # what others put around them
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    found = {str(k): v for k, v in data.items() if isinstance(v, Tensor)} if isinstance(data, Mapping) else {}
    if not found:
        raise ReidError(f"{path}: holds no tensors by name")
    return found


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, whatever the order."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _write(path: Path, tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
    from safetensors.torch import save

    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(path, save(tensors, {METADATA_KEY: text, CHECKSUM_KEY: text_digest(text)}))
    # Second, and only a copy: a kill between the two leaves a file that loads as saved.
    write_atomic(path.with_suffix(".json"), (text + "\n").encode())


def _complete(card: Mapping[str, Any], model: nn.Module, path: Path) -> dict[str, Any]:
    unknown = [key for key in card if key not in CARD_KEYS + OWN_KEYS]
    if unknown:
        raise ReidError(f"{path}: unknown key '{unknown[0]}' in the card; known: {', '.join(CARD_KEYS)}")
    options = dict(card.get("options") or getattr(model, "options", None) or {})
    full = {"format": FORMAT, "model": str(card.get("model") or model.name),
            "options": {key: value for key, value in options.items() if key not in _BUILD_ONLY}}
    return _as_json(full | {key: card.get(key) for key in CARD_KEYS[2:]}, path)


def _as_json(card: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """As JSON gives it back: the card that is returned equals the one that will be read."""
    plain = {k: v.to_dict() if isinstance(v, Calibration) else v for k, v in card.items()}
    try:
        return dict(json.loads(json.dumps(plain, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ReidError(f"{path}: the card holds what JSON cannot: {error}") from error


def _build(card: Mapping[str, Any], where: str) -> nn.Module:
    """The model a card names, without classifiers; only one of ours: a name must not import anything else."""
    name, options = card["model"], card["options"]
    if name not in BACKBONES:
        raise ReidError(f"{where}: its card names the model '{name}', which is not one of {', '.join(BACKBONES)}")
    if any(key in options for key in _BUILD_ONLY):  # they would fetch or read other files
        raise ReidError(f"{where}: its card holds the option '{next(k for k in _BUILD_ONLY if k in options)}', which "
                        "weights do not need; not loaded")
    try:
        # Fresh weights are drawn at random: a save in the middle of a training must not change what follows.
        with torch.random.fork_rng(devices=[]):
            return build_model(name, 0, **{key: _tupled(value) for key, value in options.items()})
    except ReidError as error:
        raise ReidError(f"{where}: {error}") from error
    except (TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError, AttributeError, LookupError) as error:
        raise ReidError(f"{where}: the model '{name}' cannot be built with the card's options {options}: "
                        f"{first_line(error)}") from error


def _shapes(card: Mapping[str, Any], where: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model's tensors; nothing is allocated, whatever sizes the options ask for."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in _build(card, where).state_dict().items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Card and tensors, checked against each other."""
    card = read_card(path)
    tensors = _tensors(path)
    if digest(tensors) != card["sha256"]:
        raise ReidError(f"{path}: damaged (its checksum does not match); get the file again")
    return card, tensors


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except Exception as error:  # safetensors has its own class, and others for types it does not know
        raise ReidError(f"{path}: not a safetensors file that can be read: {first_line(error)}") from error


def _filled(card: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> nn.Module:
    model = _build(card, where)
    model.load_state_dict(tensors)
    return model.eval()


def _check_answer(model: nn.Module, card: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path,
                  near: float = 5e-3) -> None:
    """Options such as a stride leave all shapes alike: only the answer to a picture shows that they are right."""
    again = _filled(card, tensors, str(path))
    image = torch.linspace(-2, 2, 3 * again.input_hw[0] * again.input_hw[1]).sin().reshape(1, 3, *again.input_hw)  # type: ignore[index, misc, arg-type]
    training, device = model.training, next(iter(model.parameters())).device
    model.eval()
    try:
        with torch.inference_mode():
            ours, theirs = (m.descriptor_only(image.to(d)).float().cpu() for m, d in ((model, device), (again, "cpu")))  # type: ignore[operator]
    finally:
        model.train(training)
    # Half a percent unless said otherwise: a GPU may multiply with fewer bits.
    if ours.shape != theirs.shape or again.input_hw != tuple(card["input_hw"]) or (ours - theirs).abs().max() > near:
        raise ReidError(f"{path}: the card's options {card['options']} build a model that answers otherwise than this "
                        "one; put the options it was built with into the card")


def _checked_name(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise ReidError(f"{path}: expected a name that ends in .safetensors")
    return path


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

