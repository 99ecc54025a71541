"""Text files of numbers, read in blocks: every row keeps its line number, so that errors can name it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mctrack.errors import MctrackError, suggest
from mctrack.evaluation.decimals import parse_decimals
from mctrack.types import FloatArray, IntArray

_BLOCK_BYTES = 1 << 18  # the parser's working set then stays in the processor's cache


class ReadError(MctrackError):
    """A results or ground-truth file that cannot be scored: the message names the file and the line."""


def blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines as bytes, with the number of the line before each; a byte order mark is left out.

    Raises:
        ReadError: the file cannot be read.
    """
    lines, rest = 0, b""
    try:
        with path.open("rb") as file:
            if file.read(3) != b"\xef\xbb\xbf":
                file.seek(0)
            while chunk := file.read(_BLOCK_BYTES):
                cut = chunk.rfind(b"\n") + 1
                if cut == 0:
                    rest += chunk
                    continue
                block = rest + chunk[:cut]
                yield block, lines
                lines += block.count(b"\n")
                rest = chunk[cut:]
    except IsADirectoryError as error:
        raise ReadError(f"{path}: is a folder, expected a text file") from error
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from error
    if rest.strip():
        yield rest, lines


def parse_bulk(block: bytes) -> FloatArray | None:
    """(n, c) values of a block in the usual form, or None where it is anything else."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if b" " in block:
        block = block.replace(b", ", b",")
    return parse_decimals(block if block.endswith(b"\n") else block + b"\n")


@dataclass(frozen=True, eq=False)
class NamedColumns:
    """A file's columns by name, each (n,), and the (n,) line of each row."""

    path: Path
    values: dict[str, FloatArray]
    line: IntArray

    def __len__(self) -> int:
        return len(self.line)

    def refuse(self, wrong: np.ndarray, reason: str) -> None:
        """Raise for the first of the (n,) rows marked wrong, with its line and how many more there are."""
        if wrong.any():
            row = int(np.argmax(wrong))
            more = int(wrong.sum()) - 1
            text = ", ".join(f"{name} {column[row]:g}" for name, column in self.values.items())
            also = f"; {more} more such lines" if more else ""
            raise ReadError(f"{self.path} line {self.line[row]}: {reason} ({text}{also})")

    def refuse_common(self) -> None:
        """Raise for values that are not finite, frames and IDs that are not whole or too low."""
        for name, column in self.values.items():
            self.refuse(~np.isfinite(column), f"{name} is not a finite number")
        for name in ("frame", "id", "camera"):
            whole = self.values.get(name)
            if whole is not None:
                self.refuse(whole != np.floor(whole), f"{name} is not a whole number")
        if "frame" in self.values:
            self.refuse(self.values["frame"] < 0, "the frame number is negative")
        if "id" in self.values:
            self.refuse(np.abs(self.values["id"]) > 2**53, "the ID is too large to be told apart from its neighbours")


def read_columns(path: Path, known: Sequence[str], columns: Sequence[str] | dict[int, Sequence[str]]) -> NamedColumns:
    """Read a table of numbers whose columns have names.

    Args:
        path: text, columns apart by commas, blanks or tabs; a first line of names rules over ``columns``.
        known: the names that may occur; ``-`` stands for a column that is not read.
        columns: the names in order, or a choice of them by the number of columns in the file.

    Raises:
        ReadError: an unknown name, too few columns, a value that is no number; with file and line.
    """
    names: list[str] | None = None
    tables: list[FloatArray] = []
    lines: list[IntArray] = []
    for block, line in blocks(path):
        if names is None:
            start = _first_line(block)
            if start is None:
                continue
            offset, words = start
            names = _names(path, line + offset + 1, words, known, columns)
            if _is_head(words):
                block, line = b"\n".join(block.split(b"\n")[offset + 1 :]), line + offset + 1
        fast = parse_bulk(block)
        if fast is not None and fast.shape[1] >= len(names):
            tables.append(fast[:, : len(names)])
            lines.append(line + 1 + np.arange(len(fast)))
        else:
            rows, at = _slowly(path, block, line, len(names))
            tables.append(rows)
            lines.append(at)
    names = names or list(columns if not isinstance(columns, dict) else next(iter(columns.values())))
    table = np.concatenate(tables) if tables else np.zeros((0, len(names)))
    found = {name: table[:, i].copy() for i, name in enumerate(names) if name != "-"}
    return NamedColumns(path, found, np.concatenate(lines) if lines else np.zeros(0, np.int64))


def _first_line(block: bytes) -> tuple[int, list[str]] | None:
    """Number (from 0) and words of the first line that is not blank."""
    for offset, raw in enumerate(block.split(b"\n")):
        if raw.strip():
            return offset, _words(raw)
    return None


def _words(raw: bytes) -> list[str]:
    text = raw.decode("utf-8", "replace").strip().rstrip(",")
    return [w.strip() for w in text.split(",")] if "," in text else text.split()


def _is_head(words: list[str]) -> bool:
    """Whether a line holds names: its first word begins with a letter and is no kind of number."""
    return words[0][:1].isalpha() and words[0].lower() not in ("nan", "inf", "infinity")


def _names(path: Path, line: int, words: list[str], known: Sequence[str],
           columns: Sequence[str] | dict[int, Sequence[str]]) -> list[str]:
    if _is_head(words):
        for word in words:
            if word not in known and word != "-":
                raise ReadError(f"{path} line {line}: unknown column '{word}'{suggest(word, known)}; "
                                f"known: {', '.join(known)}")
        return words
    if isinstance(columns, dict):
        fitting = [n for n in columns if n <= len(words)]
        if not fitting:
            least = min(columns)
            raise ReadError(f"{path} line {line}: {len(words)} columns, expected at least {least} "
                            f"({', '.join(columns[least])})")
        return list(columns[max(fitting)])
    if len(words) < len(columns):
        raise ReadError(f"{path} line {line}: {len(words)} columns, expected {len(columns)} ({', '.join(columns)})")
    return list(columns)


def _slowly(path: Path, block: bytes, line: int, width: int) -> tuple[FloatArray, IntArray]:
    """(n, width) values line by line, and the line of each row."""
    rows: list[list[float]] = []
    at: list[int] = []
    for offset, raw in enumerate(block.split(b"\n")):
        if not raw.strip():
            continue
        words, number = _words(raw), line + offset + 1
        if len(words) < width:
            raise ReadError(f"{path} line {number}: {len(words)} columns, expected at least {width}: "
                            f"{raw.decode('utf-8', 'replace').strip()[:60]!r}")
        try:
            rows.append([float(word.replace("_", "x")) for word in words[:width]])  # Python reads 1_0 as 10
        except ValueError as error:
            raise ReadError(f"{path} line {number}: not a number in {' '.join(words)[:60]!r}") from error
        at.append(number)
    return np.array(rows, float).reshape(-1, width), np.array(at, np.int64)
