"""Who a person is: a complete description of body and clothes, drawn from a seed, and look-alikes on request."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

Colour = tuple[int, int, int]
"""Red, green, blue, 0…255."""

SKIN: tuple[Colour, ...] = (
    (241, 205, 178),
    (228, 184, 150),
    (203, 156, 122),
    (166, 116, 84),
    (118, 78, 54),
    (84, 56, 42),
)
HAIR: dict[str, Colour] = {
    "black": (28, 24, 22),
    "dark brown": (58, 40, 30),
    "brown": (98, 66, 42),
    "blond": (196, 160, 104),
    "red": (140, 70, 36),
    "grey": (150, 148, 146),
}
CLOTH: dict[str, Colour] = {
    "black": (34, 34, 38),
    "charcoal": (66, 68, 74),
    "grey": (132, 134, 138),
    "white": (226, 226, 222),
    "navy": (36, 46, 82),
    "blue": (52, 92, 158),
    "sky": (128, 170, 208),
    "teal": (36, 112, 112),
    "green": (52, 108, 64),
    "olive": (96, 96, 56),
    "yellow": (214, 176, 62),
    "orange": (204, 112, 48),
    "red": (168, 44, 44),
    "wine": (98, 34, 50),
    "pink": (212, 142, 158),
    "purple": (98, 70, 130),
    "brown": (104, 74, 52),
    "beige": (200, 180, 146),
    "denim": (74, 98, 136),
}
_COMMON = ("black", "charcoal", "grey", "white", "navy", "blue", "beige", "olive", "denim")
"""Colours that are worn three times as often as the others."""
_LEGS = ("black", "charcoal", "navy", "grey", "beige", "olive", "brown", "denim")
PATTERNS = ("plain", "plain", "stripes", "checks", "block", "logo", "pinstripes", "band")
HAIR_STYLES = ("short", "short", "long", "ponytail", "bun", "bald", "bob")
TOPS = ("t-shirt", "shirt", "sweater", "jacket", "hoodie", "coat")
BOTTOMS = ("trousers", "trousers", "jeans", "shorts", "skirt")
BAGS = ("none", "none", "backpack", "shoulder bag", "handbag")
HATS = ("none", "none", "none", "none", "cap", "beanie")


class Somebody(Protocol):
    """Anyone who can be sent through a scene, whatever their body is made of."""

    @property
    def height_m(self) -> float:
        """With bare head."""
        ...

    @property
    def pace_mps(self) -> float:
        """How fast they like to walk."""
        ...

    @property
    def freedom(self) -> float:
        """How far the legs can swing in these clothes, relative to trousers."""
        ...

    def describe(self) -> str:
        """A sentence for people."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """All that is known about them."""
        ...


@dataclass(frozen=True)
class Identity:
    """One person; colours are (r, g, b).

    Attributes:
        height_m: with bare head; build: girth relative to the average; shoulders: their width likewise.
        pattern: of the top, in ``top_colour`` and ``top_colour2``; inner: what shows in an open jacket.
    """

    height_m: float
    build: float
    shoulders: float
    skin: Colour
    hair_style: str
    hair: str
    beard: bool
    top: str
    top_colour: str
    top_colour2: str
    pattern: str
    inner: str
    bottom: str
    bottom_colour: str
    shoes: str
    bag: str
    bag_colour: str
    hat: str
    hat_colour: str
    pace_mps: float
    seed: int

    @property
    def freedom(self) -> float:
        """How far the legs can swing in these clothes, relative to trousers."""
        return 0.72 if self.bottom == "skirt" else 0.82 if self.top == "coat" else 1.0

    def describe(self) -> str:
        """A sentence for people."""
        two = f" and {self.top_colour2}" if self.pattern != "plain" else ""
        parts = [
            f"{self.height_m:.2f} m",
            f"{self.hair_style} {self.hair} hair" if self.hair_style != "bald" else "bald",
            f"{self.pattern} {self.top_colour}{two} {self.top}",
            f"{self.bottom_colour} {self.bottom}",
            f"{self.shoes} shoes",
        ]
        parts += [f"{self.hat_colour} {self.hat}"] if self.hat != "none" else []
        parts += [f"{self.bag_colour} {self.bag}"] if self.bag != "none" else []
        parts += ["beard"] if self.beard else []
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as they stand in ``identities.json``."""
        return asdict(self)


def sample_identity(rng: np.random.Generator) -> Identity:
    """A person at random; colours of top and bottom differ."""

    def pick(options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    top, bottom = pick(TOPS), pick(BOTTOMS)
    names = sorted(CLOTH)
    chance = np.array([3.0 if n in _COMMON else 1.0 for n in names])
    colours = [str(c) for c in rng.choice(names, len(names), replace=False, p=chance / chance.sum())]
    legs = "denim" if bottom == "jeans" else pick(_LEGS)
    colours = [c for c in colours if c != legs]
    skin, hair_style = pick(SKIN), pick(HAIR_STYLES)
    slim = bottom == "skirt" or hair_style in ("long", "ponytail", "bun", "bob")
    return Identity(
        height_m=round(float(rng.normal(1.67 if slim else 1.77, 0.06)), 3),
        build=round(float(np.clip(rng.normal(0.97 if slim else 1.05, 0.09), 0.85, 1.3)), 3),
        shoulders=round(float(rng.normal(0.94 if slim else 1.02, 0.025)), 3),
        skin=skin,
        hair_style=hair_style,
        hair=pick(tuple(HAIR) if skin in SKIN[:4] else ("black", "black", "dark brown", "grey")),
        beard=bool(not slim and rng.random() < 0.35),
        top=top,
        top_colour=colours[0],
        top_colour2=colours[1],
        pattern=pick(PATTERNS),
        inner=pick(("white", "grey", "black", "sky")),
        bottom=bottom,
        bottom_colour=legs,
        shoes=pick(("black", "white", "brown", "grey", "red")),
        bag=pick(BAGS),
        bag_colour=colours[2],
        hat=pick(HATS),
        hat_colour=colours[3],
        pace_mps=round(float(rng.uniform(1.05, 1.45)), 3),
        seed=int(rng.integers(2**31)),
    )


def sample_people(
    count: int, rng: np.random.Generator, look_alikes: int = 1
) -> tuple[list[Identity], list[dict[str, Any]]]:
    """``count`` people of whom ``look_alikes`` pairs share an outfit but for one detail.

    Returns:
        the people (global ID = index + 1) and, per pair, ``{"ids": [a, b], "difference": text}``.
    """
    people: list[Identity] = []
    while len(people) < count:
        candidate = sample_identity(rng)
        # There are only so many colours of tops: a large crowd differs in the whole outfit.
        differ = _differ if len(people) < len(CLOTH) else _other_outfit
        if all(differ(candidate, other) for other in people):
            people.append(candidate)
    pairs = []
    for k in range(min(look_alikes, count // 2)):
        first, second = 2 * k, 2 * k + 1
        twin, difference = _twin(people[first], people[second], k)
        people[second] = twin
        pairs.append({"ids": [first + 1, second + 1], "difference": difference})
    return people, pairs


def _differ(a: Identity, b: Identity) -> bool:
    """Whether strangers can be told apart by their clothes."""
    return (a.top_colour, a.bottom_colour) != (b.top_colour, b.bottom_colour) and a.top_colour != b.top_colour


def _other_outfit(a: Identity, b: Identity) -> bool:
    """Whether kind or colour of top or bottom differ."""
    return (a.top, a.top_colour, a.bottom, a.bottom_colour) != (b.top, b.top_colour, b.bottom, b.bottom_colour)


def _twin(person: Identity, other: Identity, kind: int) -> tuple[Identity, str]:
    """Someone in the same outfit: own body and gait, one detail of dress apart."""
    body: dict[str, Any] = {
        "height_m": round(0.5 * (person.height_m + other.height_m), 3),
        "build": person.build,
        "pace_mps": other.pace_mps,
        "seed": other.seed,
    }
    if kind % 2 == 0:
        bag = "none" if person.bag == "backpack" else "backpack"
        return replace(person, **body, bag=bag), f"bag: {person.bag} / {bag}"
    shade = {"black": "beige", "beige": "black"}.get(person.bottom_colour, "black")
    return replace(person, **body, bottom_colour=shade), f"{person.bottom}: {person.bottom_colour} / {shade}"
