"""Cuts that a container without a declared length does not show: what its end looks like."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_PACKET_BYTES = (188, 192, 204)
_TAIL_PACKETS = 400
_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"free", b"skip", b"wide",
                    b"uuid", b"udta", b"meta", b"emsg", b"prft", b"pdin"})


def torn_end(path: str | Path, format_name: str) -> str | None:
    """What is wrong at the end of a file, or None. Only for fragmented MP4 and MPEG transport streams.

    Args:
        path: the file.
        format_name: libav's name of the container.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if format_name == "mpegts":
                return _torn_packets(file, size)
            if format_name.startswith("mov"):
                at = _first_bad_box(file, size)
                return None if at is None else f"its structure breaks off at byte {at} of {size}"
    except OSError:
        return None
    return None


def _torn_packets(file: BinaryIO, size: int) -> str | None:
    """Whether a transport stream ends within a packet, or its last packets lack their sync byte."""
    length = next((length for length in _PACKET_BYTES if size % length == 0), None)
    if length is None:
        return "its last packet is incomplete"
    count = min(_TAIL_PACKETS, size // length)
    file.seek(size - count * length + (4 if length == 192 else 0))  # 192: a time code stands before each packet
    lost = sum(byte != 0x47 for byte in file.read()[::length])
    return f"{lost} of its last {count} packets are destroyed" if lost else None


def whole_fragments_end(path: str | Path) -> int | None:
    """Offset at which a fragmented MP4 breaks off after at least one fragment, or None if it does not."""
    try:
        with open(path, "rb") as file:
            return _first_bad_box(file, os.fstat(file.fileno()).st_size)
    except OSError:
        return None


def _first_bad_box(file: BinaryIO, size: int) -> int | None:
    """Offset of the first fragment (or other outermost box) that is broken or ends beyond the file, or None.

    Only where a whole fragment stands before it.
    """
    at, moof_at, fragments = 0, -1, 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, name = struct.unpack(">I4s", head[:8]) if len(head) >= 8 else (0, b"")
        if length == 1 and len(head) == 16:  # a 64-bit length follows
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8 or at + length > size or name not in _BOXES:
            if name == b"mdat" and moof_at >= 0:  # a fragment is its moof and mdat together
                at = moof_at
            endless = length == 0 and name == b"mdat"  # the last box may reach to the end of the file
            return at if fragments and not endless else None
        fragments += name == b"mdat" and moof_at >= 0
        moof_at = at if name == b"moof" else -1
        at += length
    return None
