"""The table of materials that the shader reads: one row of numbers each, colours in linear light (RGB)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.makehuman.body import Body
from mctrack.synth.makehuman.palette import RGB, linear
from mctrack.synth.makehuman.person import Cloth, Person

WIDTH = 56
SKIN, CLOTH, HAIR, LEATHER, EYE = range(5)
PATTERN = {
    n: k
    for k, n in enumerate(
        (
            "plain",
            "stripes",
            "checks",
            "two-tone",
            "band",
            "sleeves",
            "heather",
            "camouflage",
            "dots",
            "pinstripes",
            "vertical",
        )
    )
}
# Columns of the table.
(KIND, A, B, C, PAT, SCALE, PHASE, DUTY, WEAR, FOLD, GLOSS, SEED) = (0, 1, 4, 7, 10, 11, 12, 13, 14, 15, 16, 17)
(YOKE, PRINT, PX, PY, PW, PH, ZIP, STRAP, SR, POCKET, STRIPE, FADE, QUILT, CUFF_Y, CUFF_A) = (
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    29,
    30,
    31,
    32,
    33,
    34,
)
(HIP, KNEE, CROTCH, SHOULDER) = (35, 36, 37, 38)
(EYE_Y, EYE_X, FACE_Z, TOP_Y, NECK_Y, BEARD, SCALP, HEAD_Z, HEAD_W) = (40, 41, 42, 43, 44, 45, 46, 47, 48)


def _row(body: Body, kind: int, a: RGB, b: RGB, c: RGB, seed: int, **values: float) -> NDArray[np.float32]:
    row = np.zeros(WIDTH, np.float32)
    m = body.marks
    row[KIND], row[SEED] = kind, (seed % 997) * 0.37
    row[A : A + 3], row[B : B + 3], row[C : C + 3] = linear(a), linear(b), linear(c)
    row[[HIP, KNEE, CROTCH, SHOULDER]] = m["hip"], m["knee"], m["crotch"], m["shoulder"]
    row[[EYE_Y, EYE_X, FACE_Z, TOP_Y, NECK_Y]] = m["eye"], m["eye_x"], m["eye_z"], m["top"], m["head"]
    row[[HEAD_Z, HEAD_W]] = m["head_z"], m["head_w"]
    for name, value in values.items():
        row[globals()[name]] = value
    return row


def cloth(body: Body, piece: Cloth, seed: int, **values: float) -> NDArray[np.float32]:
    """A woven thing."""
    base = {
        "PAT": PATTERN[piece.pattern],
        "SCALE": piece.scale_m,
        "DUTY": piece.duty,
        "WEAR": piece.wear,
        "FOLD": piece.folds,
    }
    base |= {"PHASE": (seed % 101) / 101, "YOKE": -1, "CUFF_Y": -9, "CUFF_A": 9, "POCKET": -9}
    return _row(body, CLOTH, piece.rgb, piece.rgb2, piece.rgb2, seed, **(base | values))


def plain(body: Body, rgb: RGB, seed: int, **values: float) -> NDArray[np.float32]:
    """A one-coloured thing."""
    return cloth(body, Cloth("", "", rgb, rgb), seed, **values)


def leather(body: Body, rgb: RGB, rgb2: RGB, seed: int, **values: float) -> NDArray[np.float32]:
    """Shoes: the second colour is that of the soles below ``CUFF_Y``."""
    return _row(body, LEATHER, rgb, rgb2, rgb2, seed, **({"WEAR": 0.1, "GLOSS": 0.25, "CUFF_Y": -9} | values))


def skin(body: Body, person: Person) -> NDArray[np.float32]:
    """Skin with a painted face, beard and, where the hair is short or none, scalp."""
    lips: RGB = (person.skin[0] * 0.82, person.skin[1] * 0.60, person.skin[2] * 0.60)
    scalp = 0.0 if person.hair == "bald" else 1.0
    return _row(
        body,
        SKIN,
        person.skin,
        person.hair_rgb,
        lips,
        person.seed,
        BEARD=person.beard,
        SCALP=scalp,
        WEAR=0.06,
        GLOSS=0.10,
    )


def hair(body: Body, person: Person) -> NDArray[np.float32]:
    """Strands."""
    return _row(body, HAIR, person.hair_rgb, person.hair_rgb, person.hair_rgb, person.seed, WEAR=0.35, GLOSS=0.15)


def eye(body: Body) -> NDArray[np.float32]:
    """Eyeballs, dark from afar."""
    return _row(body, EYE, (0.55, 0.52, 0.5), (0.08, 0.06, 0.05), (0, 0, 0), 0)


def top(body: Body, person: Person) -> NDArray[np.float32]:
    """The upper garment with its print, zip, straps of a bag and cuffs."""
    m, p = body.marks, person
    at = p.print_at
    torso = m["shoulder"] - m["hip"]
    straps = {"backpack": 1, "shoulder bag": 2 + p.seed % 2}.get(p.bag, 0)
    r, g, b = linear(p.bag_rgb)
    values: dict[str, Any] = {
        "PRINT": p.print_kind,
        "PX": at[0],
        "PY": m["hip"] + at[1] * torso,
        "PW": at[2],
        "PH": at[3],
        "YOKE": m["hip"] + (0.35 + 0.45 * p.top.duty) * torso,
        "ZIP": float(
            p.top.kind in ("jacket", "parka", "puffer", "coat") or (p.top.kind == "hoodie" and p.seed % 3 == 0)
        )
        + 2.0 * (p.top.kind in ("shirt", "polo", "blazer")),
        "STRAP": straps,
        "QUILT": float(p.top.kind == "puffer"),
        "GLOSS": 0.18 if p.top.kind == "puffer" else 0.35 * (p.top.kind == "jacket" and p.seed % 3 == 0),
        "POCKET": m["hip"] + 0.12 * torso if p.top.kind in ("hoodie", "jacket", "coat", "parka") and p.seed % 2 else -9,
    }
    row = cloth(body, p.top, p.seed, **values)
    row[SR : SR + 3] = r, g, b
    # Prints and second colours share the row: a print takes the third colour.
    row[C : C + 3] = linear(p.print_rgb)
    return row


def bottom(body: Body, person: Person) -> NDArray[np.float32]:
    """Trousers, shorts or a skirt."""
    p = person
    fade = {"jeans": 0.25 + 0.5 * p.bottom.duty}.get(p.bottom.kind, 0.0) * (
        p.bottom.colour in ("blue", "gray", "black")
    )
    return cloth(body, p.bottom, p.seed + 7, STRIPE=float(p.side_stripe), FADE=fade, GLOSS=0.02)
