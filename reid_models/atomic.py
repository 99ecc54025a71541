"""Files that are either the old ones or the new ones, never half of each: also after a kill or on a full disk."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from reid_models.errors import ReidError


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write a file under another name, make sure that it is on the disk, then give it its name.

    Raises:
        ReidError: it cannot be written; what was there before is untouched.
    """
    path = Path(path)
    # Not mkstemp: it would hide the file from other users whatever the umask says.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ReidError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name last; not every file system can, and the file is whole either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
