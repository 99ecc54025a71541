"""Attribute annotation of Market-1501 and DukeMTMC-reID (Lin et al. 2019): one row of answers a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.data.types import Ints
from reid_models.errors import ReidError

_AGES = ("young", "teenager", "adult", "old")


@dataclass(frozen=True, eq=False)
class IdentityTable:
    """Attributes by identity: ``pid`` (C,) increasing, ``values`` (C, M) int8 of 0 and 1."""

    pid: Ints
    values: NDArray[np.int8]

    def rows(self, pid: Ints) -> NDArray[np.int8]:
        """(n, M) for n pictures; −1 for people that are not in the table."""
        place = np.minimum(np.searchsorted(self.pid, pid), len(self.pid) - 1)
        return np.where((self.pid[place] == pid)[:, None], self.values[place], np.int8(-1))


def identity_attributes(path: Path, key: str, age_groups: int = 2) -> tuple[tuple[str, ...], IdentityTable]:
    """Read ``market_attribute.mat`` or ``duke_attribute.mat``.

    The file has ``train`` and ``test``, each with a 1 × C row an attribute (the two halves in another order) and
    ``image_index``, the pids as text. Answers are 1 or 2, stored here as 0 and 1 (a backpack: yes; gender: female;
    hair: long; up, down: short sleeves, short; clothes: trousers); age has four values.

    Args:
        path: the file.
        key: the name of the structure in it.
        age_groups: 2: one column ``age`` (1: adult or old); 4: a column for each of the four.

    Returns:
        The names of the M columns in the training half's order, and the table.

    Raises:
        ReidError: the file is missing or something else.
    """
    if age_groups not in (2, 4):
        raise ReidError(f"attributes: age_groups is {age_groups}, expected 2 or 4")
    halves = [_half(path, key, half) for half in ("train", "test")]
    names = tuple(name for name in halves[0] if name != "image_index")
    if set(halves[0]) != set(halves[1]):
        raise ReidError(f"attributes {path}: train and test name different attributes")
    columns: dict[str, NDArray[np.int8]] = {}
    for name in names:
        answers = np.concatenate([np.asarray(half[name], np.int64).ravel() for half in halves])
        columns.update(_columns(path, name, answers, age_groups))
    pid = np.concatenate([[int(str(np.ravel(cell)[0])) for cell in half["image_index"]] for half in halves])
    order = np.argsort(pid, kind="stable")
    if len({len(column) for column in columns.values()} | {len(pid)}) != 1 or len(np.unique(pid)) != len(pid):
        raise ReidError(f"attributes {path}: the columns differ in length, or a person comes twice")
    return tuple(columns), IdentityTable(pid[order], np.stack(list(columns.values()), 1)[order])


def _columns(path: Path, name: str, answers: NDArray[np.int64], age_groups: int) -> dict[str, NDArray[np.int8]]:
    limit = 4 if name == "age" else 2
    if answers.min(initial=1) < 1 or answers.max(initial=1) > limit:
        raise ReidError(f"attributes {path}: '{name}' has values other than 1…{limit}")
    if name != "age":
        return {name: (answers == 2).astype(np.int8)}
    if age_groups == 2:
        return {name: (answers >= 3).astype(np.int8)}
    return {group: (answers == k).astype(np.int8) for k, group in enumerate(_AGES, 1)}


def _half(path: Path, key: str, half: str) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise ReidError(f"attributes: there is no file {path}")
    try:
        structure = loadmat(path)[key][0, 0][half][0, 0]
        fields = {name: structure[name] for name in structure.dtype.names}
        fields["image_index"] = fields["image_index"].ravel()
    except (KeyError, ValueError, IndexError, TypeError, NotImplementedError, MatReadError, OSError) as error:
        raise ReidError(f"attributes {path}: not a '{key}' structure with train and test ({error})") from error
    return fields
