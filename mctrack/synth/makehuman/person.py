"""Who a person is: body, clothes, hair, things carried, gait; drawn from a seed; and Market-1501's 27 attributes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mctrack.synth.makehuman.body import Shape
from mctrack.synth.makehuman.palette import HAIRS, LOWER, RGB, SKINS, THINGS, UPPER, pick, shade

TOPS_WARM = {"t-shirt": 5.0, "polo": 2.0, "tank": 0.5, "shirt": 2.0, "long sleeve": 1.5, "dress": 0.5}
TOPS_MILD = {
    "long sleeve": 1.5,
    "shirt": 2.0,
    "sweater": 2.0,
    "hoodie": 3.0,
    "jacket": 3.0,
    "blazer": 1.2,
    "t-shirt": 1.0,
}
TOPS_COLD = {"jacket": 3.0, "puffer": 3.0, "coat": 3.0, "parka": 2.5, "hoodie": 1.5, "blazer": 0.8}
SHORT_SLEEVES = ("t-shirt", "polo", "tank", "dress")
OUTER = ("jacket", "blazer", "coat", "parka", "puffer")
PATTERNS = {
    "plain": 9.0,
    "stripes": 1.3,
    "checks": 1.0,
    "two-tone": 1.0,
    "band": 0.7,
    "sleeves": 0.8,
    "heather": 1.5,
    "camouflage": 0.25,
    "dots": 0.3,
    "pinstripes": 0.4,
}
HAIR_FEMALE = {
    "bob01": 1.0,
    "bob02": 1.0,
    "braid01": 0.5,
    "long01": 2.0,
    "ponytail01": 2.0,
    "short01": 0.4,
    "bun": 1.0,
    "afro01": 0.25,
}
HAIR_MALE = {
    "short01": 1.0,
    "short02": 1.5,
    "short03": 1.5,
    "short04": 1.5,
    "cropped": 3.0,
    "bald": 0.7,
    "afro01": 0.15,
    "ponytail01": 0.1,
}
LONG_HAIR = ("bob01", "braid01", "long01", "ponytail01")
MALE_TOPS = ("male_casualsuit02", "male_casualsuit03", "male_casualsuit05", "male_elegantsuit01")
SHOES = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06")


@dataclass(frozen=True)
class Cloth:
    """A piece of clothing: class and shade of its colours, and what is woven or printed."""

    kind: str
    colour: str
    rgb: RGB
    rgb2: RGB
    pattern: str = "plain"
    scale_m: float = 0.05
    duty: float = 0.5
    wear: float = 0.1
    folds: float = 0.25


@dataclass(frozen=True)
class Person:
    """One identity in full: the same values give the same looks.

    Attributes:
        top_length: hem below the hips, in thigh lengths (negative: above); sleeve: 0 shoulder … 1 wrist.
        opened: how far an outer layer stands open, metres at the hem; bottom_length: 1 to the ankle, 0 to the crotch.
        source: folder of the clothes whose mesh the top takes, "" for one made from the body's own outline.
    """

    shape: Shape
    female: bool
    age_class: int
    skin: RGB
    hair: str
    hair_colour: str
    hair_rgb: RGB
    beard: float
    top: Cloth
    top_length: float
    sleeve: float
    loose_m: float
    opened: float
    inner: Cloth
    source: str
    print_kind: int
    print_at: tuple[float, float, float, float]
    print_rgb: RGB
    hood: str
    bottom: Cloth
    bottom_length: float
    leg_loose_m: tuple[float, float, float]
    side_stripe: bool
    shoes: str
    shoe_rgb: RGB
    sole_rgb: RGB
    socks_rgb: RGB
    bag: str
    bag_rgb: RGB
    bag_size: float
    hat: str
    hat_rgb: RGB
    scarf: bool
    scarf_rgb: RGB
    pace: float
    stoop: float
    swing: float
    seed: int
    twin_of: int = -1
    difference: str = ""

    @property
    def height_m(self) -> float:
        """With bare head and feet."""
        return self.shape.height_m

    @property
    def pace_mps(self) -> float:
        """How fast they like to walk; the old are slower."""
        return round(1.27 * self.pace * (0.8 if self.shape.age > 0.6 else 1.0), 3)

    @property
    def freedom(self) -> float:
        """How far the legs can swing in these clothes, relative to trousers."""
        return 0.75 if self.bottom.kind == "skirt" or self.top_length > 0.9 else 1.0

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return asdict(self)

    def describe(self) -> str:
        """A sentence for people."""
        parts = [
            f"{self.shape.height_m:.2f} m",
            "bald" if self.hair == "bald" else f"{self.hair_colour} hair ({self.hair})",
            f"{self.top.pattern} {self.top.colour} {self.top.kind}",
            f"{self.bottom.pattern} {self.bottom.colour} {self.bottom.kind}",
        ]
        parts += [f"hood {self.hood}"] if self.hood else []
        parts += [self.hat] if self.hat else []
        parts += [self.bag] if self.bag else []
        return ", ".join(parts)


def sample_person(rng: np.random.Generator) -> Person:
    """A person at random: weather first, then clothes that fit it."""
    weather = int(rng.choice(3, p=[0.34, 0.36, 0.30]))
    female = bool(rng.random() < 0.47)
    kind = pick(rng, (TOPS_WARM, TOPS_MILD, TOPS_COLD)[weather])
    if kind == "dress" and not female:
        kind = "t-shirt"
    dark = bool(rng.random() < 0.30)
    top = _cloth(rng, kind, UPPER, dark)
    bottom = _bottom(rng, weather, female, kind, dark)
    body = _body(rng, female)
    hats = {"": 8.0, "cap": 1.0, "fedora": 0.15, "beanie": (0.1, 0.4, 1.6)[weather]}
    hooded = kind in ("hoodie", "parka", "puffer", "jacket") and rng.random() < (
        0.95 if kind in ("hoodie", "parka") else 0.3
    )
    hood = ("up" if rng.random() < 0.25 else "down") if hooded else ""
    return Person(
        **body,
        top=top,
        **_cut(rng, top, female),
        inner=_cloth(rng, "t-shirt", {"white": 2.0, "gray": 1.0, "black": 1.5, "blue": 1.0, "red": 0.3}, False),
        **_print(rng, top),
        hood=hood,
        bottom=bottom,
        **_legs(rng, bottom),
        **_feet(rng),
        bag=pick(rng, {"": 5.5, "backpack": 2.0, "shoulder bag": 1.2, "handbag": 1.0, "carrier bag": 0.6}),
        bag_rgb=shade(rng, pick(rng, THINGS)),
        bag_size=round(float(rng.uniform(0.75, 1.25)), 3),
        hat="" if hood == "up" else pick(rng, hats),
        hat_rgb=shade(rng, pick(rng, THINGS)),
        scarf=bool(weather == 2 and rng.random() < 0.3),
        scarf_rgb=shade(rng, pick(rng, UPPER)),
        pace=round(float(rng.uniform(0.8, 1.15)), 3),
        stoop=round(float(rng.normal(3, 3)), 2),
        swing=round(float(rng.uniform(0.5, 1.2)), 3),
        seed=int(rng.integers(2**31)),
    )


def _body(rng: np.random.Generator, female: bool) -> dict[str, Any]:
    old = bool(rng.random() < 0.12)
    race = rng.random()
    african = 1.0 if race < 0.14 else (0.5 if race < 0.18 else 0.0)
    asian = 0.0 if african else (1.0 if race < 0.46 else (0.5 if race < 0.50 else 0.0))
    tone = int(
        np.clip(rng.normal(5, 0.8) if african > 0.7 else rng.normal(3.5, 1) if african else rng.normal(1.2, 1), 0, 6)
    )
    skin = tuple(round(float(np.clip(c * rng.normal(1, 0.03), 0.05, 1)), 4) for c in SKINS[tone])
    height = rng.normal(1.64 if female else 1.765, 0.065) - 0.03 * old
    colours = (
        {"black": 4.0, "dark brown": 3.0}
        if african or asian
        else {"black": 1.5, "dark brown": 3.0, "brown": 3.0, "light brown": 1.5, "blond": 1.2, "red": 0.25}
    )
    colour = pick(rng, {"grey": 2.0, "white": 1.5} if old and rng.random() < 0.8 else colours)
    shape = Shape(
        gender=round(float(np.clip(rng.normal(0.08 if female else 0.92, 0.08), 0, 1)), 3),
        age=round(float(rng.uniform(0.6, 1.0) if old else rng.beta(1.5, 4) * 0.5), 3),
        muscle=round(float(np.clip(rng.normal(0.42 if female else 0.55, 0.13), 0.1, 0.95)), 3),
        weight=round(float(np.clip(rng.normal(0.52, 0.17), 0.08, 0.98)), 3),
        tall=round(float(np.clip(0.5 + (height - (1.66 if female else 1.78)) * 1.5, 0.25, 0.75)), 3),
        proportions=round(float(rng.uniform(0.3, 0.9)), 3),
        african=african,
        asian=asian,
        height_m=round(float(np.clip(height, 1.46, 2.0)), 3),
    )
    return {
        "shape": shape,
        "female": female,
        "age_class": 4 if old else (2 if rng.random() < 0.35 else 3),
        "skin": skin,
        "hair": pick(rng, HAIR_FEMALE if female else HAIR_MALE),
        "hair_colour": colour,
        "hair_rgb": HAIRS[colour],
        "beard": 0.0 if female or rng.random() < 0.6 else round(float(rng.uniform(0.3, 0.95)), 2),
    }


def _cloth(rng: np.random.Generator, kind: str, colours: dict[str, float], dark: bool) -> Cloth:
    if dark:
        colours = {k: v for k, v in colours.items() if k in ("black", "gray", "blue")}
    name = pick(rng, colours)
    first = shade(rng, name)
    if dark:
        first = tuple(round(c * float(min(1.0, 0.22 / max(first))), 4) for c in first)  # type: ignore[assignment]
    pattern = pick(rng, PATTERNS)
    if kind in ("coat", "parka", "puffer", "blazer") and pattern not in ("plain", "heather", "checks", "two-tone"):
        pattern = "plain"
    fine = {"pinstripes": (0.012, 0.03), "dots": (0.03, 0.06), "camouflage": (0.10, 0.2)}.get(pattern, (0.025, 0.11))
    return Cloth(
        kind,
        name,
        first,
        shade(rng, pick(rng, UPPER)),
        pattern,
        round(float(rng.uniform(*fine)), 4),
        round(float(rng.uniform(0.25, 0.75)), 3),
        round(float(rng.uniform(0.03, 0.22)), 3),
        round(float(rng.uniform(0.15, 0.5)), 3),
    )


def _bottom(rng: np.random.Generator, weather: int, female: bool, top: str, dark: bool) -> Cloth:
    kinds = {"jeans": 4.0, "trousers": 4.0, "joggers": 1.0, "shorts": (3.0, 0.4, 0.02)[weather]}
    if female:
        kinds |= {"skirt": (1.8, 1.0, 0.6)[weather], "leggings": 1.5}
    kind = pick(rng, kinds) if top != "dress" else "leggings"
    colours = {"blue": 5.0, "black": 1.5, "gray": 0.8, "white": 0.1} if kind == "jeans" else LOWER
    cloth = _cloth(rng, kind, colours, dark and kind != "jeans")
    if kind == "jeans" and cloth.colour == "blue":
        cloth = replace(cloth, rgb=shade(rng, "denim"))
    plain = kind in ("jeans", "leggings", "joggers") or rng.random() < 0.85
    return replace(cloth, pattern="plain", wear=max(cloth.wear, 0.15)) if plain else cloth


def _cut(rng: np.random.Generator, top: Cloth, female: bool) -> dict[str, Any]:
    """Lengths and width of the top by its kind: (hem low, high), (sleeve low, high), (loose low, high)."""
    lengths = {
        "t-shirt": (0.05, 0.30),
        "polo": (0.08, 0.25),
        "tank": (0.0, 0.25),
        "shirt": (0.1, 0.35),
        "long sleeve": (0.05, 0.28),
        "sweater": (0.05, 0.28),
        "hoodie": (0.08, 0.3),
        "jacket": (0.05, 0.35),
        "blazer": (0.25, 0.42),
        "puffer": (0.05, 0.4),
        "parka": (0.35, 0.75),
        "coat": (0.6, 1.25),
        "dress": (0.6, 1.3),
    }
    loose = {
        "tank": (0.002, 0.008),
        "t-shirt": (0.004, 0.016),
        "hoodie": (0.014, 0.028),
        "sweater": (0.008, 0.02),
        "puffer": (0.03, 0.05),
        "parka": (0.022, 0.04),
        "coat": (0.016, 0.03),
        "jacket": (0.012, 0.026),
        "blazer": (0.01, 0.02),
        "dress": (0.004, 0.012),
    }
    sleeves = {"tank": (-0.12, -0.02), "dress": (0.0, 0.5)}
    sleeve = rng.uniform(*sleeves.get(top.kind, (0.32, 0.5) if top.kind in SHORT_SLEEVES else (0.97, 1.04)))
    if top.kind in ("shirt", "long sleeve", "sweater") and rng.random() < 0.2:
        sleeve = rng.uniform(0.55, 0.8)
    outer = top.kind in OUTER
    source = ""
    if not female and rng.random() < 0.3 and top.kind in ("jacket", "blazer", "shirt", "long sleeve", "sweater"):
        source = "male_elegantsuit01" if top.kind == "blazer" else MALE_TOPS[int(rng.integers(3))]
    elif top.kind == "t-shirt" and rng.random() < 0.35:
        source = "female_casualsuit01" if female else ("male_casualsuit04", "male_casualsuit06")[int(rng.integers(2))]
    return {
        "top_length": round(float(rng.uniform(*lengths[top.kind])), 3),
        "sleeve": round(float(sleeve), 3),
        "loose_m": round(float(rng.uniform(*loose.get(top.kind, (0.005, 0.014)))), 4),
        "opened": round(float(rng.uniform(0.06, 0.18)), 3) if outer and rng.random() < 0.45 else 0.0,
        "source": source,
    }


def _print(rng: np.random.Generator, top: Cloth) -> dict[str, Any]:
    """Kinds: 0 none, 1 block, 2 disc, 3 lines of text, 4 small logo, 5 large print on the back, 6 badge both sides."""
    free = top.pattern in ("plain", "heather", "sleeves", "two-tone")
    odds = {"0": 5.0, "1": 0.5, "2": 0.6, "3": 1.0, "4": 1.8, "5": 0.8, "6": 0.4}
    kind = (
        int(pick(rng, odds))
        if free and top.kind in ("t-shirt", "hoodie", "jacket", "sweater", "long sleeve", "polo", "tank")
        else 0
    )
    small = kind in (4, 6)
    x = float(rng.choice([-0.08, 0.08])) if small else 0.0
    half = rng.uniform(0.02, 0.035) if small else rng.uniform(0.06, 0.13)
    return {
        "print_kind": kind,
        "print_at": (
            x,
            round(float(rng.uniform(0.55, 0.85)), 3),
            round(float(half), 4),
            round(float(half * rng.uniform(0.5, 1.2)), 4),
        ),
        "print_rgb": shade(
            rng, pick(rng, {"white": 3.0, "black": 1.0, "red": 1.0, "yellow": 1.0, "blue": 1.0, "gray": 1.0})
        ),
    }


def _legs(rng: np.random.Generator, bottom: Cloth) -> dict[str, Any]:
    loose = {
        "jeans": ((0.004, 0.010), (0.003, 0.020), (0.004, 0.028)),
        "trousers": ((0.005, 0.014), (0.010, 0.03), (0.012, 0.045)),
        "joggers": ((0.010, 0.02), (0.015, 0.03), (0.008, 0.012)),
        "shorts": ((0.008, 0.02), (0.02, 0.045), (0.02, 0.05)),
        "leggings": ((0.001, 0.002), (0.001, 0.002), (0.001, 0.002)),
        "skirt": ((0.004, 0.01), (0.0, 0.06), (0.0, 0.1)),
    }
    length = {"shorts": (0.22, 0.55), "skirt": (0.2, 0.95)}.get(bottom.kind, (0.96, 1.03))
    if bottom.kind in ("leggings", "trousers", "jeans") and rng.random() < 0.12:
        length = (0.75, 0.92)
    return {
        "bottom_length": round(float(rng.uniform(*length)), 3),
        "leg_loose_m": tuple(round(float(rng.uniform(*r)), 4) for r in loose[bottom.kind]),
        "side_stripe": bool(bottom.kind == "joggers" and rng.random() < 0.6),
    }


def _feet(rng: np.random.Generator) -> dict[str, Any]:
    shoe = shade(
        rng, pick(rng, {"black": 4.0, "white": 2.5, "gray": 1.5, "brown": 1.5, "blue": 0.7, "red": 0.3, "beige": 0.6})
    )
    return {
        "shoes": SHOES[int(rng.integers(len(SHOES)))],
        "shoe_rgb": shoe,
        "sole_rgb": shade(rng, "white") if rng.random() < 0.4 else tuple(round(0.6 * c, 4) for c in shoe),
        "socks_rgb": shade(rng, pick(rng, {"white": 2.0, "black": 2.0, "gray": 1.0})),
    }


def twin(person: Person, other: Person, rng: np.random.Generator, number: int) -> Person:
    """Someone else (``other``'s body, hair and gait) in the outfit of ``person``, one detail apart."""
    body = {
        k: getattr(other, k)
        for k in ("shape", "skin", "hair", "hair_colour", "hair_rgb", "beard", "pace", "stoop", "swing", "seed")
    }
    if other.female != person.female:
        body = {k: body[k] for k in ("skin", "pace", "stoop", "swing", "seed")}
    change: dict[str, Any]
    kind = int(rng.integers(5))
    if kind == 0:
        bag = "" if person.bag else "backpack"
        change, what = {"bag": bag}, f"bag: {person.bag or 'none'} / {bag or 'none'}"
    elif kind == 1:
        change, what = {"shoe_rgb": other.shoe_rgb, "sole_rgb": other.sole_rgb, "shoes": other.shoes}, "shoes"
    elif kind == 2:
        change, what = (
            {"bottom": replace(person.bottom, rgb=other.bottom.rgb, colour=other.bottom.colour)},
            "colour of the legs",
        )
    elif kind == 3:
        change, what = {"print_kind": 0 if person.print_kind else 1}, "print"
    else:
        change, what = {"top": replace(person.top, rgb=other.top.rgb, colour=other.top.colour)}, "colour of the top"
    return replace(person, **body, **change, twin_of=number, difference=what)


_UP = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
_DOWN = ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")
_NEAREST = {"orange": "red", "pink": "purple", "beige": "yellow"}


def market_attributes(person: Person) -> dict[str, int]:
    """The 27 attributes of Market-1501's annotation: 1 no or first choice, 2 yes or second choice, age 1…4."""
    dress = person.top.kind == "dress"
    skirt = dress or person.bottom.kind == "skirt"
    short = (dress and person.top_length < 1.0) or (not dress and person.bottom_length < 0.6)
    down = _NEAREST.get(person.bottom.colour, person.bottom.colour) if person.bottom.colour != "pink" else "pink"
    down = "brown" if person.bottom.colour in ("beige", "orange") else ("purple" if down == "red" else down)
    up = _NEAREST.get(person.top.colour, person.top.colour)
    if dress:
        down = person.top.colour
    out = {
        "age": person.age_class,
        "backpack": 1 + (person.bag == "backpack"),
        "bag": 1 + (person.bag in ("shoulder bag", "carrier bag")),
        "handbag": 1 + (person.bag == "handbag"),
        "clothes": 1 if skirt else 2,
        "down": 2 if short else 1,
        "up": 1 if person.sleeve > 0.7 else 2,
        "hair": 2 if person.hair in LONG_HAIR else 1,
        "hat": 1 + bool(person.hat or person.hood == "up"),
        "gender": 2 if person.female else 1,
    }
    out |= {f"up{c}": 1 + (up == c) for c in _UP} | {f"down{c}": 1 + (down == c) for c in _DOWN}
    return out
