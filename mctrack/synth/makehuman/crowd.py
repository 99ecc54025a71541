"""The people of a scene, drawn together: strangers in different outfits, and look-alikes on request."""

from __future__ import annotations

from typing import Any

import numpy as np

from mctrack.synth.makehuman.person import Person, sample_person, twin


def sample_crowd(
    count: int, rng: np.random.Generator, look_alikes: int = 1
) -> tuple[list[Person], list[dict[str, Any]]]:
    """``count`` people of whom ``look_alikes`` pairs share an outfit but for one detail.

    Returns:
        the people (global ID = index + 1) and, per pair, ``{"ids": [a, b], "difference": text}``.
    """
    people: list[Person] = []
    while len(people) < count:
        candidate = sample_person(rng)
        if all(_outfit(candidate) != _outfit(other) for other in people):
            people.append(candidate)
    pairs = []
    for k in range(min(look_alikes, count // 2)):
        first, second = 2 * k, 2 * k + 1
        people[second] = twin(people[first], people[second], rng, first)
        pairs.append({"ids": [first + 1, second + 1], "difference": people[second].difference})
    return people, pairs


def _outfit(person: Person) -> tuple[str, ...]:
    """What a bystander would say somebody wears."""
    return person.top.kind, person.top.colour, person.bottom.kind, person.bottom.colour
