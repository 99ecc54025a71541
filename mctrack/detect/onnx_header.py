"""Input shape and metadata of an ONNX file, read without any ONNX library.

An ONNX file is one protocol-buffer message. Walking its top levels takes microseconds, skips the weights, and
gives both engines the same facts (OpenCV tells neither metadata nor which dimensions are free).
Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mctrack.errors import WeightsError

_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALIZER, _GRAPH_INPUT = 5, 11
_TENSOR_NAME, _INFO_NAME, _INFO_TYPE = 8, 1, 2


@dataclass(frozen=True)
class Header:
    """What a network says about itself: ``input_shape`` with None for free dimensions, and its metadata."""

    input_shape: tuple[int | None, ...]
    metadata: dict[str, str]

    def shown_shape(self) -> str:
        """The input shape for messages."""
        return f"({', '.join('?' if d is None else str(d) for d in self.input_shape)})"


def read_header(path: Path) -> Header:
    """Read the first input's shape and the metadata.

    Raises:
        WeightsError: no such file, or it is not an ONNX network.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(data)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # an empty file cannot be mapped either
        raise WeightsError(f"{path}: not an ONNX file ({error})") from error


def _parse(data: mmap.mmap) -> Header:
    inputs: list[tuple[str, tuple[int | None, ...]]] = []
    constants: set[str] = set()
    metadata: dict[str, str] = {}
    for number, value in _fields(data, 0, len(data)):
        if number == _MODEL_METADATA and isinstance(value, tuple):
            texts = {n: _text(data, v) for n, v in _fields(data, *value) if isinstance(v, tuple)}
            metadata[texts.get(1, "")] = texts.get(2, "")
        elif number == _MODEL_GRAPH and isinstance(value, tuple):
            for n, v in _fields(data, *value):
                if n == _GRAPH_INPUT and isinstance(v, tuple):
                    inputs.append(_value_info(data, v))
                elif n == _GRAPH_INITIALIZER and isinstance(v, tuple):
                    constants.update(_text(data, t) for k, t in _fields(data, *v)
                                     if k == _TENSOR_NAME and isinstance(t, tuple))
    # old exporters list the weights among the inputs
    pictures = [shape for name, shape in inputs if name not in constants]
    if not pictures:
        raise ValueError("it has no input")
    return Header(pictures[0], metadata)


def _value_info(data: mmap.mmap, span: tuple[int, int]) -> tuple[str, tuple[int | None, ...]]:
    name, shape = "", []
    for number, value in _fields(data, *span):
        if number == _INFO_NAME and isinstance(value, tuple):
            name = _text(data, value)
        elif number == _INFO_TYPE and isinstance(value, tuple):
            for tensor in _messages(data, value, 1):  # TypeProto.tensor_type
                for dims in _messages(data, tensor, 2):  # Tensor.shape
                    for dim in _messages(data, dims, 1):
                        known = [v for n, v in _fields(data, *dim) if n == 1 and isinstance(v, int)]
                        # negative (wrapped) and zero sizes mean "free" in some exports
                        shape.append(known[0] if known and 0 < known[0] < 1 << 31 else None)
    return name, tuple(shape)


def _messages(data: mmap.mmap, span: tuple[int, int], number: int) -> list[tuple[int, int]]:
    return [v for n, v in _fields(data, *span) if n == number and isinstance(v, tuple)]


def _text(data: mmap.mmap, span: tuple[int, int]) -> str:
    return data[span[0] : span[1]].decode("utf-8", "replace")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Each field's number with its integer, or with the (start, end) of its bytes."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("not a protocol buffer")
        if wire == 0:
            value, at = _varint(data, at, end)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at, end)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("not a protocol buffer")
        if at + length > end:
            raise ValueError("it is cut short")
        yield number, (at, at + length)
        at += length


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it is cut short")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ValueError("not a protocol buffer")
