"""Where the channels of a stage of shuffle blocks go, and how to make and read them without moving them.

Pure bookkeeping on numbers of channels; :mod:`reid_models.deploy_shuffle` makes convolutions of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LANES = 16
"""Channels per vector in the runtime's blocked layout (AVX-512; a multiple of what narrower machines use)."""

Channel = tuple[int, int]
"""Where a channel goes: which block reads it, and as which of its inputs. Every channel is read exactly once."""


NOBODY: Channel = (-1, -1)
"""The channels of zeros that fill up a vector."""
_RELUCTANCES = (1.0, 1.5, 2.0, 3.0, 5.0, 1e9)


@dataclass(frozen=True)
class Reading:
    """A 1 × 1 convolution reads one piece: ``columns[i]`` is its input at the piece's channel i, -1: not read."""

    piece: int
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Packing:
    """What is left of some pieces, moved into a new one of ``width`` channels."""

    piece: int
    width: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class StageTrace:
    """Who makes and who reads which channels in a stage of Shuffle-A between two Shuffle-B.

    Attributes:
        made: per producer (both branches of the first Shuffle-B, then each Shuffle-A) its pieces: number of the
            piece, and the producer's output channels in it.
        packed: per reader what is packed just before it reads.
        read: per reader (each Shuffle-A's second half, then the last Shuffle-B) what it reads.
    """

    made: tuple[tuple[tuple[int, tuple[int, ...]], ...], ...]
    packed: tuple[tuple[Packing, ...], ...]
    read: tuple[tuple[Reading, ...], ...]


def trace_stage(half: int, blocks: int, lanes: int = LANES) -> StageTrace:
    """Follow the 2 · ``half`` channels from the first Shuffle-B through ``blocks`` Shuffle-A to the last Shuffle-B.

    Of several plans, more and less eager to pack, the one with the fewest multiplications.
    """
    return min((_trace(half, blocks, lanes, reluctance) for reluctance in _RELUCTANCES), key=lambda t: _total(t, half))


def _trace(half: int, blocks: int, lanes: int, reluctance: float) -> StageTrace:
    goes = _destinations(half, blocks)
    made: list[tuple[tuple[int, tuple[int, ...]], ...]] = []
    packed: list[tuple[Packing, ...]] = []
    read: list[tuple[Reading, ...]] = []
    pieces: dict[int, list[Channel]] = {}
    numbers = itertools.count()

    def make(producer: int) -> None:
        channels = goes[producer]
        rows = [(next(numbers), rows) for rows in _cut(channels, lanes)]
        pieces.update({number: [channels[i] if i >= 0 else NOBODY for i in chosen] for number, chosen in rows})
        made.append(tuple(rows))

    make(0)
    for reader in range(blocks + 1):
        make(reader + 1)  # the block before this reader, or the first Shuffle-B's second branch
        packed.append(_pack(pieces, reader, _Costs(half, blocks, lanes, reluctance), numbers))
        read.append(tuple(_reading(number, piece, reader) for number, piece in pieces.items() if _reads(reader, piece)))
        for number in [n for n, piece in pieces.items() if all(by <= reader for by, _ in piece)]:
            del pieces[number]
    return StageTrace(tuple(made), tuple(packed), tuple(read))


def _destinations(half: int, blocks: int) -> list[list[Channel]]:
    """Per producer, where each of its output channels goes."""
    reader: dict[Channel, Channel] = {}
    order = _interleave([(0, i) for i in range(half)], [(1, i) for i in range(half)])
    for block in range(blocks):
        reader.update({made: (block, i) for i, made in enumerate(order[half:])})
        order = _interleave(order[:half], [(block + 2, i) for i in range(half)])
    reader.update({made: (blocks, i) for i, made in enumerate(order)})
    return [[reader[producer, i] for i in range(half)] for producer in range(blocks + 2)]


def _interleave(a: list[Channel], b: list[Channel]) -> list[Channel]:
    return [channel for pair in zip(a, b, strict=True) for channel in pair]


def _cut(channels: Sequence[Channel], lanes: int) -> list[tuple[int, ...]]:
    """Whole vectors of channels in the order of reading (-1: none), cut where a vector's readers are others."""
    order = sorted(range(len(channels)), key=channels.__getitem__)
    order += [-1] * (-len(order) % lanes)
    pieces: list[tuple[int, ...]] = []
    last: set[int] = set()
    for start in range(0, len(order), lanes):
        vector = tuple(order[start : start + lanes])
        who = {channels[i][0] for i in vector if i >= 0}
        if pieces and who == last:
            pieces[-1] += vector
        else:
            pieces.append(vector)
        last = who
    return pieces


def _reads(reader: int, piece: Sequence[Channel]) -> bool:
    return any(by == reader for by, _ in piece)


def _reading(number: int, piece: Sequence[Channel], reader: int) -> Reading:
    return Reading(number, tuple(at if by == reader else -1 for by, at in piece))


# Pieces that a single vector holds are read by several blocks, for ever fewer channels of it. Where that costs more
# than moving what is left of several of them together (a 1 × 1 convolution with ones in the right places), move.


@dataclass(frozen=True)
class _Costs:
    """Multiplications per place."""

    half: int
    last: int
    lanes: int
    reluctance: float

    def reading(self, piece: Sequence[Channel], reader: int) -> float:
        """Of reading a piece from ``reader`` on."""
        return sum(_price(by, self.last) for by in {by for by, _ in piece} if by >= reader) * self.half * len(piece)

    def packing(self, piece: Sequence[Channel], left: dict[int, list[Channel]], chosen: Sequence[int]) -> float:
        """Of making a packed piece of what is left of the chosen ones."""
        sources = sum(any(c in left[n] for c in piece if c != NOBODY) for n in chosen)
        return self.reluctance * self.lanes * sources * len(piece)


def _price(reader: int, last: int) -> float:
    return 1.25 if reader == last else 1.0  # the last Shuffle-B reads twice, once at a quarter of the places


def _total(trace: StageTrace, half: int) -> float:
    """Multiplications per place of a plan, as far as plans differ."""
    last = len(trace.read) - 1
    reads = sum(_price(by, last) * half * len(r.columns) for by, readings in enumerate(trace.read) for r in readings)
    return reads + sum(p.width * len(r.columns) for packings in trace.packed for p in packings for r in p.readings)


def _pack(
    pieces: dict[int, list[Channel]], reader: int, costs: _Costs, numbers: Iterator[int]
) -> tuple[Packing, ...]:
    """Pack narrow pieces before ``reader`` reads, if that saves multiplications; ``pieces`` is brought up to date."""
    narrow = {n: piece for n, piece in pieces.items() if len(piece) <= costs.lanes}
    left = {n: [c for c in piece if c[0] >= reader] for n, piece in narrow.items()}
    by_fill = sorted(left, key=lambda n: len(left[n]))
    chosen: list[int] = []
    gain = 0.0
    for count in range(2, len(by_fill) + 1):
        tried = by_fill[:count]
        packed = _repacked([c for n in tried for c in left[n]], costs.lanes)
        after = sum(costs.reading(piece, reader) + costs.packing(piece, left, tried) for piece in packed)
        saved = sum(costs.reading(pieces[n], reader) for n in tried) - after
        if saved > gain:
            chosen, gain = tried, saved
    result = []
    for piece in _repacked([c for n in chosen for c in left[n]], costs.lanes):
        place = {channel: i for i, channel in enumerate(piece) if channel != NOBODY}
        sources = (n for n in chosen if any(c in place for c in left[n]))
        moves = tuple(Reading(n, tuple(place.get(c, -1) for c in pieces[n])) for n in sources)
        result.append((Packing(next(numbers), len(piece), moves), piece))
    for n in chosen:
        del pieces[n]
    pieces.update({packing.piece: piece for packing, piece in result})
    return tuple(packing for packing, _ in result)


def _repacked(channels: list[Channel], lanes: int) -> list[list[Channel]]:
    return [[channels[i] if i >= 0 else NOBODY for i in rows] for rows in _cut(channels, lanes)]
