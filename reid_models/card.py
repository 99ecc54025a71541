"""The card of trained weights: what they are, in JSON; readable without torch.

It lies in the metadata of a ``.safetensors`` file, in that of an exported ``.onnx`` file, and beside them as
``name.json``.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_models.calibration import Calibration
from reid_models.errors import ReidError

FORMAT = "reid-card-1"
CARD_KEYS = ("model", "options", "recipe", "data", "seed", "figures", "calibration")
"""What a card may say; :data:`OWN_KEYS` are added when it is saved."""
OWN_KEYS = ("format", "dim", "input_hw", "sha256")
METADATA_KEY, CHECKSUM_KEY = "reid_card", "reid_card_sha256"
ONNX_KEY = "reid_models_card"
BESIDE_KEY = "reid_models_weights"
"""In the metadata of an ``.onnx`` file without weights: which file has them, and its SHA-256."""
_KINDS = {"model": str, "options": dict, "sha256": str, "dim": int, "input_hw": list}


def read_card(path: str | Path) -> dict[str, Any]:
    """The card in a ``.safetensors`` file, without reading its tensors.

    Raises:
        ReidError: the file is missing, damaged or holds no card.
    """
    path = existing(path)
    metadata = read_header(path)[0].get("__metadata__", {})
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        raise ReidError(f"{path}: holds no card, so it is not one of ours; give it to a model as 'pretrained' instead")
    if metadata.get(CHECKSUM_KEY) != text_digest(text):
        raise ReidError(f"{path}: damaged (its card's checksum does not match); get the file again")
    return parse_card(text, str(path))


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def parse_card(text: str, where: str) -> dict[str, Any]:
    """The card that a text holds.

    Args:
        text: JSON.
        where: the file, for messages.

    Raises:
        ReidError: it is not a card.
    """
    try:
        card = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ReidError(f"{where}: its card is not valid JSON") from error
    if not is_card(card):
        raise ReidError(f"{where}: its card is not of the format {FORMAT}")
    for key, kind in _KINDS.items():
        if not isinstance(card.get(key), kind):
            raise ReidError(f"{where}: '{key}' of its card is {card.get(key)!r}, expected a {kind.__name__}")
    return dict(card)


def is_card(data: Any) -> bool:
    """Whether JSON data calls itself a card."""
    return isinstance(data, dict) and data.get("format") == FORMAT


def card_calibration(card: Mapping[str, Any], where: str) -> Calibration | None:
    """What the distances of a card's model mean, or None where it does not say.

    Raises:
        ReidError: what it says is not a calibration.
    """
    data = card.get("calibration")
    return Calibration.from_dict(data, f"{where}: calibration") if data else None


def describe(card: Mapping[str, Any]) -> str:
    """A few words for the user: model, recipe, data."""
    recipe, data = card.get("recipe"), card.get("data")
    name = recipe.get("name") if isinstance(recipe, dict) else recipe
    trained = f"trained with {name}" if name else "trained"
    return f"{card['model']}, {trained} on {_words(data)}" if data or name else f"{card['model']}, training unknown"


def _words(data: Any) -> str:
    if isinstance(data, dict):
        data = data.get("names") or data.get("name") or data.get("what") or list(data)
    words = ", ".join(map(str, data)) if isinstance(data, list) else str(data or "data unknown")
    return words if len(words) <= 80 else words[:79] + "…"


def existing(path: str | Path) -> Path:
    """The path, if a file is there.

    Raises:
        ReidError: there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise ReidError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    return path


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Header of a safetensors file (8 bytes of length, little-endian, then JSON), and the byte where numbers begin.

    Raises:
        ReidError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            # A damaged length must not make us ask for that much memory.
            if length > path.stat().st_size - 8:
                raise ValueError("it ends within its header")
            header = json.loads(file.read(length))
        if not isinstance(header.get("__metadata__", {}), dict):
            raise ValueError("its metadata is no object")
    except (OSError, struct.error, ValueError, AttributeError, RecursionError) as error:
        raise ReidError(f"{path}: not a safetensors file that can be read: {first_line(error)}") from error
    return header, 8 + length
