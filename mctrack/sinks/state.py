"""Program state to bytes and back, exactly and without pickle (loading can run no code).

Layout: magic, CRC-32 of the rest, length of a JSON skeleton, the skeleton, then the arrays' bytes one after another.
In the skeleton plain JSON values stand for themselves; everything JSON cannot tell apart is an object with one key:
``a`` array, ``n`` NumPy scalar, ``t`` tuple, ``d`` dict as pairs, ``f`` float that is not finite.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

import numpy as np

from mctrack.errors import OutputError
from mctrack.types import State

_MAGIC = b"mctrack state 1\n"
_HEADER = struct.Struct("<IQ")
_KINDS = "biufcSUmM"


def dump_state(state: State) -> bytes:
    """Serialise nested dicts, lists and tuples of arrays, numbers, strings and None.

    Dict keys may be strings, integers or tuples of those. Integer enums become plain integers.

    Raises:
        TypeError: something else is in it; the message says where.
    """
    chunks: list[bytes] = []
    skeleton = json.dumps(_encode(state, "state", chunks, [0]), allow_nan=False, separators=(",", ":")).encode()
    body = b"".join([struct.pack("<Q", len(skeleton)), skeleton, *chunks])
    return b"".join([_MAGIC, struct.pack("<I", zlib.crc32(body)), body])


def load_state(data: bytes) -> State:
    """What :func:`dump_state` was given; arrays are fresh and writable.

    Raises:
        OutputError: the bytes are damaged or of another kind.
    """
    start = len(_MAGIC) + _HEADER.size
    if len(data) < start or not data.startswith(_MAGIC):
        raise OutputError("saved state cannot be read: not written by this version of mctrack; start the run afresh")
    crc, length = _HEADER.unpack_from(data, len(_MAGIC))
    view = memoryview(data)
    if zlib.crc32(view[len(_MAGIC) + 4 :]) != crc:
        raise OutputError("saved state cannot be read: it is damaged; start the run afresh")
    skeleton = json.loads(bytes(view[start : start + length]))
    state: State = _decode(skeleton, view[start + length :])
    return state


def _encode(value: Any, where: str, chunks: list[bytes], offset: list[int]) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):  # first: np.float64 is a float too, np.str_ a str
        return {"a" if isinstance(value, np.ndarray) else "n": _array(np.asarray(value), where, chunks, offset)}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"f": repr(float(value))}
    if isinstance(value, (list, tuple)):
        items = [_encode(v, f"{where}[{i}]", chunks, offset) for i, v in enumerate(value)]
        return {"t": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {"d": [[_key(k, where), _encode(v, f"{where}.{k}", chunks, offset)] for k, v in value.items()]}
    raise TypeError(f"{where} is a {type(value).__name__}, which saved state cannot hold")


def _key(key: Any, where: str) -> Any:
    if isinstance(key, str):
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    if isinstance(key, tuple):
        return {"t": [_key(k, where) for k in key]}
    raise TypeError(f"{where} has the key {key!r}; saved state takes strings, integers and tuples of those")


def _array(array: np.ndarray[Any, Any], where: str, chunks: list[bytes], offset: list[int]) -> list[Any]:
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"{where} is an array of {array.dtype}, which saved state cannot hold")
    data = array.tobytes()
    chunks.append(data)
    offset[0] += len(data)
    return [array.dtype.str, list(array.shape), offset[0] - len(data)]


def _decode(value: Any, data: memoryview) -> Any:
    if isinstance(value, list):
        return [_decode(v, data) for v in value]
    if not isinstance(value, dict):
        return value
    [(tag, content)] = value.items()
    if tag == "d":
        return {_decode(k, data): _decode(v, data) for k, v in content}
    if tag == "t":
        return tuple(_decode(v, data) for v in content)
    if tag == "f":
        return float(content)
    dtype, shape, offset = np.dtype(content[0]), tuple(content[1]), content[2]
    array = np.zeros(shape, dtype)
    size = array.nbytes
    if size:
        array[...] = np.frombuffer(data[offset : offset + size], dtype).reshape(shape)
    return array if tag == "a" else array[()]
