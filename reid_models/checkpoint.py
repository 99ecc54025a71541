"""Checkpoints that survive a power cut: temporary file, fsync, rename, checksum, and the previous one kept.

A file is ``MAGIC``, the SHA-256 of what follows, its length, and what ``torch.save`` writes. It is read only after the
sum is right, and then with ``weights_only=True``: a checkpoint holds tensors and plain values, never code.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path
from typing import Any

from reid_models.errors import ReidError

MAGIC = b"REIDCKP1"
_HEAD = struct.Struct("<8s32sQ")
LAST, PREVIOUS, TEMPORARY = "checkpoint.last", "checkpoint.previous", "checkpoint.tmp"


def save_checkpoint(folder: str | Path, state: dict[str, Any]) -> Path:
    """Write a checkpoint; the one before is kept.

    Wherever this is interrupted, :func:`load_checkpoint` finds the new one or the one before, whole.

    Args:
        folder: made where missing.
        state: tensors, numbers, texts, None, and lists, tuples and dictionaries of them.

    Raises:
        OSError: the file cannot be written; what was there is left as it was.
    """
    import torch

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    head = _HEAD.pack(MAGIC, hashlib.sha256(payload).digest(), len(payload))
    temporary, last = folder / TEMPORARY, folder / LAST
    with open(temporary, "wb") as file:
        file.write(head)
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    if last.exists():
        # Between the two renames there is no 'last', but both whole files: the temporary one is read as well.
        os.replace(last, folder / PREVIOUS)
    os.replace(temporary, last)
    _sync_folder(folder)
    return last


def load_checkpoint(folder: str | Path, device: str = "cpu") -> tuple[dict[str, Any], str | None]:
    """The last good checkpoint of a folder.

    Returns:
        The state, and one line for the user where a damaged file had to be passed over, else None.

    Raises:
        ReidError: there is no checkpoint, or none that is whole.
    """
    folder = Path(folder)
    damaged = []
    for name in (LAST, TEMPORARY, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        state = _read(path, device)
        if state is None:
            damaged.append(name)
            continue
        # a temporary file that was cut off is the normal trace of an interrupted save, not worth a word
        bad = [n for n in damaged if n != TEMPORARY]
        return state, f"{folder / bad[0]} is damaged; going on from {name}" if bad else None
    if damaged:
        raise ReidError(f"checkpoints in {folder} are damaged ({', '.join(damaged)}); start anew without --resume")
    raise ReidError(f"no checkpoint in {folder}; start without --resume")


def has_checkpoint(folder: str | Path) -> bool:
    """Whether there is anything to resume from."""
    return any((Path(folder) / name).exists() for name in (LAST, PREVIOUS))


def _read(path: Path, device: str) -> dict[str, Any] | None:
    """The state, or None where the file is not whole."""
    import torch

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReidError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if len(data) < _HEAD.size:
        return None
    magic, digest, length = _HEAD.unpack_from(data)
    payload = memoryview(data)[_HEAD.size :]
    if magic != MAGIC or length != len(payload) or hashlib.sha256(payload).digest() != digest:
        return None
    try:
        state = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except Exception as error:
        # The sum is right, so it is what was written: by somebody else, then, or it holds what we never write.
        raise ReidError(f"checkpoint {path} holds something else than a training's state: "
                        f"{str(error).splitlines()[0]}") from error
    if not isinstance(state, dict):
        raise ReidError(f"checkpoint {path} holds something else than a training's state")
    return state


def _sync_folder(folder: Path) -> None:
    """Make the renames durable, where the system lets us."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
