"""An MP4 on disk that can be opened at any moment, even while a fragment is being written."""

from __future__ import annotations

import struct
from pathlib import Path


class BoxFile:
    """Takes a muxer's output and stores it in whole units: a box, or a fragment (``moof`` with its ``mdat``).

    A ``kill -9`` may cut a write anywhere, and players refuse a file that ends within a fragment. So each unit first
    goes to disk disguised as one ``free`` box, which readers skip and may be cut; when it is complete, its first
    eight bytes are put right.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed in close()
        self._pending = bytearray()
        self._end = 0

    def write(self, data: bytes) -> int:
        """Called by the muxer: keep the bytes until :meth:`store` (an error here would be lost in C)."""
        self._pending += data
        return len(data)

    def store(self) -> None:
        """Write the units that are complete."""
        while length := self._unit():
            self._put(bytes(self._pending[:length]))
            del self._pending[:length]

    def close(self) -> None:
        """Store what is complete and close the file. Safe to call twice."""
        try:
            if not self._file.closed:
                self.store()
        finally:
            self._file.close()

    def _unit(self) -> int:
        """Length of the first complete unit in bytes, or 0."""
        length, name = self._box(0)
        if name == b"moof":
            data, _ = self._box(length)
            length = length + data if data else 0
        return length if 0 < length <= len(self._pending) else 0

    def _box(self, at: int) -> tuple[int, bytes]:
        """Length and name of the box at an offset; length 0 where its head is not there yet."""
        head = self._pending[at:at + 16]
        if len(head) < 8:
            return 0, b""
        length, name = struct.unpack(">I4s", head[:8])
        if length == 1:  # a 64-bit length follows
            return (struct.unpack(">Q", head[8:])[0] if len(head) == 16 else 0), name
        return length, name

    def _put(self, unit: bytes) -> None:
        self._write_all(struct.pack(">I4s", len(unit), b"free") + unit[8:])
        self._file.seek(self._end)
        self._write_all(unit[:8])
        self._end = self._file.seek(0, 2)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0:]
