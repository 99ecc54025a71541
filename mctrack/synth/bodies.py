"""What the people of a scene are made of: the built-in bodies or MakeHuman's meshes, behind one face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.errors import ConfigError, suggest
from mctrack.synth.figure import Actor, Figure
from mctrack.synth.identity import Identity, Somebody, sample_people

PARAMETRIC = "parametric"


def assets_folder(spec: str) -> Path | None:
    """The folder in ``makehuman:FOLDER``; None for ``parametric``.

    Raises:
        ConfigError: neither of them.
    """
    kind, _, folder = spec.partition(":")
    if kind == PARAMETRIC and not folder:
        return None
    if kind == "makehuman" and folder:
        return Path(folder).expanduser()
    hint = suggest(kind, (PARAMETRIC, "makehuman"))
    raise ConfigError(f"--people: '{spec}' is neither 'parametric' nor 'makehuman:FOLDER'{hint}")


def sample(
    spec: str, count: int, rng: np.random.Generator, look_alikes: int
) -> tuple[Sequence[Somebody], list[dict[str, Any]]]:
    """``count`` people and their look-alikes, see `mctrack.synth.identity.sample_people`.

    Raises:
        ConfigError: no such bodies.
        SourceError: the folder does not hold MakeHuman's assets.
    """
    folder = assets_folder(spec)
    if folder is None:
        return sample_people(count, rng, look_alikes)
    from mctrack.synth.makehuman.assets import check_folder
    from mctrack.synth.makehuman.crowd import sample_crowd

    check_folder(folder)
    return sample_crowd(count, rng, look_alikes)


def actors(spec: str, people: Sequence[Somebody]) -> list[Actor]:
    """Everyone made drawable.

    Raises:
        SourceError: a file of MakeHuman's assets cannot be read.
    """
    folder = assets_folder(spec)
    built_in = [p for p in people if isinstance(p, Identity)]
    if folder is None:
        return [Figure(p) for p in built_in]
    from mctrack.synth.makehuman.actor import HumanActor
    from mctrack.synth.makehuman.figure import MakeHuman
    from mctrack.synth.makehuman.person import Person

    assets = MakeHuman(folder)
    return [HumanActor(assets, p) for p in people if isinstance(p, Person)]


def market_attributes(person: Somebody) -> dict[str, int] | None:
    """Market-1501's 27 attributes where they are known exactly: MakeHuman's people have an age and a sex."""
    if isinstance(person, Identity):
        return None
    from mctrack.synth.makehuman.person import Person, market_attributes

    return market_attributes(person) if isinstance(person, Person) else None
