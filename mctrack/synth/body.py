"""The body and clothes of an identity as a skinned mesh. Sections are given in fractions of the body height."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.synth import gait
from mctrack.synth.identity import Identity
from mctrack.synth.mesh import Mesh, Skin, ellipsoid, grid_triangles, loft, merge

Array = NDArray[np.float64]

TILES = ("torso", "arm", "leg", "head", "hair", "skirt", "shoe", "hand", "bag", "hat", "neck", "tail")
TORSO_TOP, TORSO_BOTTOM = 0.852, 0.450
HEM = {"t-shirt": 0.515, "shirt": 0.505, "sweater": 0.505, "jacket": 0.500, "hoodie": 0.495, "coat": 0.505}
LOOSE = {"t-shirt": 0.005, "shirt": 0.006, "sweater": 0.009, "jacket": 0.012, "hoodie": 0.013, "coat": 0.013}
SLEEVE_END = {"t-shirt": 0.70}
LEG_LOOSE = {"trousers": 0.008, "jeans": 0.005, "shorts": 0.011, "skirt": 0.0}
ARM_TOP, ARM_BOTTOM = 0.824, 0.480
LEG_TOP, LEG_BOTTOM = 0.535, 0.032
SHORTS_END = 0.31

# height, half-depth, half-width, centre x: the unclothed trunk
_TRUNK = np.array(
    [
        [0.450, 0.050, 0.070, 0.000],
        [0.490, 0.066, 0.096, -0.003],
        [0.530, 0.069, 0.101, -0.005],
        [0.570, 0.063, 0.097, -0.002],
        [0.610, 0.057, 0.088, 0.002],
        [0.660, 0.060, 0.091, 0.002],
        [0.710, 0.067, 0.100, 0.000],
        [0.750, 0.068, 0.106, -0.003],
        [0.785, 0.061, 0.109, -0.007],
        [0.804, 0.053, 0.108, -0.009],
        [0.818, 0.046, 0.099, -0.010],
        [0.830, 0.039, 0.076, -0.011],
        [0.842, 0.033, 0.047, -0.011],
        [0.852, 0.029, 0.033, -0.010],
    ]
)
_ARM = np.array(
    [
        [0.824, 0.003],
        [0.820, 0.014],
        [0.808, 0.0235],
        [0.788, 0.0285],
        [0.760, 0.0290],
        [0.700, 0.0265],
        [0.650, 0.0240],
        [0.630, 0.0235],
        [0.590, 0.0240],
        [0.540, 0.0200],
        [0.500, 0.0160],
        [0.480, 0.0150],
    ]
)
_LEG = np.array(
    [
        [0.535, 0.036, 0.000],
        [0.515, 0.055, 0.000],
        [0.470, 0.0565, 0.002],
        [0.420, 0.0520, 0.004],
        [0.360, 0.0435, 0.004],
        [0.310, 0.0365, 0.003],
        [0.280, 0.0345, 0.003],
        [0.245, 0.0345, -0.003],
        [0.205, 0.0345, -0.006],
        [0.150, 0.0280, -0.006],
        [0.090, 0.0215, -0.004],
        [0.060, 0.0205, -0.003],
        [0.032, 0.0215, -0.002],
    ]
)
# part of the head's height from chin to crown, half-depth, half-width, centre x
_HEAD = np.array(
    [
        [0.00, 0.010, 0.010, 0.030],
        [0.03, 0.026, 0.020, 0.022],
        [0.10, 0.040, 0.031, 0.010],
        [0.22, 0.049, 0.038, 0.003],
        [0.36, 0.054, 0.0420, 0.000],
        [0.50, 0.0565, 0.0440, -0.002],
        [0.66, 0.0570, 0.0445, -0.004],
        [0.80, 0.0520, 0.0415, -0.005],
        [0.91, 0.0390, 0.0320, -0.005],
        [0.975, 0.0210, 0.0180, -0.005],
        [1.00, 0.0020, 0.0020, -0.005],
    ]
)
_SHOE = np.array(
    [
        [-0.046, 0.006, 0.010, 0.018],
        [-0.042, 0.017, 0.020, 0.019],
        [-0.025, 0.024, 0.024, 0.024],
        [0.000, 0.027, 0.025, 0.027],
        [0.025, 0.022, 0.026, 0.022],
        [0.060, 0.0165, 0.029, 0.0165],
        [0.088, 0.013, 0.026, 0.013],
        [0.103, 0.010, 0.017, 0.010],
        [0.110, 0.004, 0.006, 0.009],
    ]
)
CHIN = 0.868


def tile(name: str) -> tuple[float, float, float, float]:
    """(u0, v0, u1, v1) of a part in the 4 × 4 atlas, inset by a texel so that neighbours do not bleed."""
    row, column = divmod(TILES.index(name), 4)
    inset = 1 / 256
    return column / 4 + inset, row / 4 + inset, (column + 1) / 4 - inset, (row + 1) / 4 - inset


def build(person: Identity) -> Mesh:
    """The whole person in the rest pose, about 2,500 triangles."""
    H = person.height_m
    parts = [_torso(person), _neck(H), *_head(person)]
    for side in (1.0, -1.0):
        parts += [_arm(person, side), _hand(person, side), _leg(person, side), _shoe(person, side)]
    if person.bottom == "skirt":
        parts.append(_skirt(H, person.build, 0.555, 0.30, 0.086, 0.128, "skirt"))
    if person.top == "coat":
        parts.append(_skirt(H, person.build, 0.56, 0.35, 0.093, 0.128, "tail"))
    parts += _bag(person)
    return merge(parts)


def _columns(*values: Array) -> Array:
    return np.stack(np.broadcast_arrays(*values), axis=1).astype(float)


def _torso(person: Identity) -> Mesh:
    """Trunk with the top's thickness down to its hem, where the cloth ends in a step."""
    hem, loose = HEM[person.top], LOOSE[person.top]
    z = np.unique(np.concatenate([_TRUNK[:, 0], [hem - 0.0015, hem, 0.54, 0.59, 0.635, 0.685, 0.73]]))
    depth, width, centre = (np.interp(z, _TRUNK[:, 0], _TRUNK[:, k]) for k in (1, 2, 3))
    girth = np.interp(z, [0.45, 0.62, 0.80, 0.85], [1.0, 1.0, 0.5, 0.0]) * (person.build - 1)
    belly = np.exp(-(((z - 0.61) / 0.05) ** 2)) * max(person.build - 1.02, 0) * 0.16
    cloth = np.where(
        z >= hem, np.interp(z, [hem, hem + 0.06, 0.80, 0.85], [loose * 1.25, loose, loose * 0.6, 0.001]), 0.003
    )
    shoulder = np.interp(z, [0.66, 0.80, 0.84, 0.852], [1.0, person.shoulders, person.shoulders, 1.0])
    H = person.height_m
    sections = (
        _columns(
            z,
            depth * (1 + girth) + cloth + belly / 2,
            width * shoulder * (1 + 0.8 * girth) + cloth,
            centre + belly / 2,
            np.zeros(1),
        )
        * H
    )
    skin = Skin((gait.CHEST, gait.SPINE, gait.PELVIS), (0.68 * H, 0.58 * H), 0.09 * H)
    return loft(sections, 20, tile("torso"), skin, exponent=2.35)


def _neck(H: float) -> Mesh:
    z = np.array([0.835, 0.85, 0.865, 0.885])
    sections = (
        _columns(
            z,
            np.array([0.036, 0.031, 0.031, 0.033]),
            np.array([0.034, 0.030, 0.030, 0.031]),
            np.array([-0.011, -0.009, -0.006, -0.004]),
            np.zeros(1),
        )
        * H
    )
    return loft(sections, 10, tile("neck"), Skin((gait.NECK,)))


def _arm(person: Identity, side: float) -> Mesh:
    loose, end = LOOSE[person.top], SLEEVE_END.get(person.top, 0.49)
    z = np.unique(np.concatenate([_ARM[:, 0], [end - 0.0015, end, 0.61, 0.655, 0.73]]))
    radius = np.interp(z, _ARM[::-1, 0], _ARM[::-1, 1]) * (1 + 0.7 * (person.build - 1))
    radius = radius + np.where(z >= end, loose * np.interp(z, [0.78, 0.824], [1.0, 0.1]), 0.0)
    H = person.height_m
    y = side * 0.104 * person.shoulders * np.ones_like(z)
    sections = _columns(z, radius * 1.05, radius * 0.97, np.full_like(z, -0.006), y) * H
    arm, forearm = (gait.L_ARM, gait.L_FOREARM) if side > 0 else (gait.R_ARM, gait.R_FOREARM)
    return loft(sections, 10, tile("arm"), Skin((arm, forearm), (0.632 * H,), 0.04 * H))


def _hand(person: Identity, side: float) -> Mesh:
    H = person.height_m
    z = np.array([0.372, 0.380, 0.402, 0.430, 0.460, 0.478, 0.490])
    sections = (
        _columns(
            z,
            np.array([0.003, 0.012, 0.020, 0.024, 0.022, 0.015, 0.013]),
            np.array([0.002, 0.007, 0.010, 0.0125, 0.0125, 0.012, 0.012]),
            np.array([0.006, 0.005, 0.003, 0.001, -0.001, -0.003, -0.004]),
            side * 0.104 * person.shoulders * np.ones(1),
        )
        * H
    )
    return loft(sections, 8, tile("hand"), Skin((gait.L_HAND if side > 0 else gait.R_HAND,)))


def _leg(person: Identity, side: float) -> Mesh:
    H, loose = person.height_m, LEG_LOOSE[person.bottom]
    end = SHORTS_END if person.bottom == "shorts" else (LEG_TOP if person.bottom == "skirt" else 0.035)
    z = np.unique(np.concatenate([_LEG[:, 0], [0.335, 0.295, 0.265, end - 0.0015, end]]))
    z = z[(z >= LEG_BOTTOM) & (z <= LEG_TOP)]
    radius = np.interp(z, _LEG[::-1, 0], _LEG[::-1, 1]) * (1 + 0.8 * (person.build - 1))
    centre = np.interp(z, _LEG[::-1, 0], _LEG[::-1, 2])
    wide = np.interp(z, [0.03, 0.10, 0.28, 0.50], [2.1, 1.7, 1.0, 0.35]) if person.bottom != "jeans" else 1.0
    radius = radius + np.where(z >= end, loose * wide, 0.0)
    y = side * np.interp(z, [0.03, 0.285, 0.52], [0.047, 0.049, 0.050])
    thigh, shin = (gait.L_THIGH, gait.L_SHIN) if side > 0 else (gait.R_THIGH, gait.R_SHIN)
    pelvis_band = Skin((gait.PELVIS, thigh, shin), (0.525 * H, 0.285 * H), 0.05 * H)
    return loft(_columns(z, radius * 1.03, radius, centre, y) * H, 12, tile("leg"), pelvis_band)


def _shoe(person: Identity, side: float) -> Mesh:
    sections = np.column_stack([_SHOE, np.full(len(_SHOE), side * 0.049)]) * person.height_m
    skin = Skin((gait.L_FOOT if side > 0 else gait.R_FOOT,))
    return loft(sections, 10, tile("shoe"), skin, exponent=2.8, axis="x")


def _head(person: Identity) -> list[Mesh]:
    H = person.height_m
    skin = Skin((gait.HEAD,))
    sections = _columns(CHIN + _HEAD[:, 0] * (1 - CHIN), *(_HEAD[:, k] for k in (1, 2, 3)), np.zeros(1)) * H
    head = loft(sections, 16, tile("head"), skin)
    points = head.points.copy()
    rise = (points[:, 2] / H - CHIN) / (1 - CHIN)
    ahead = np.clip(points[:, 0] / (0.055 * H), 0, 1) ** 6 * np.clip(1 - np.abs(points[:, 1]) / (0.02 * H), 0, 1)
    points[:, 0] += 0.011 * H * ahead * np.exp(-(((rise - 0.40) / 0.12) ** 2))
    head = Mesh(points, head.uv, head.bones, head.weight, head.triangles)
    return [head, *_hair(person), *_hat(person)]


def _cap(person: Identity, low: Array, scale: float, thick: float, name: str, flow: float = 0.0) -> Mesh:
    """A shell over the head whose lower edge ``low`` (height on the head by angle) may hang down the back."""
    H, rows, columns = person.height_m, 9, 18
    angle = np.linspace(-np.pi, np.pi, columns + 1)
    f = low + (1.0 - low) * (np.linspace(0, 1, rows)[:, None] ** 0.9)
    inside = np.clip(f, 0.3, 1.0)
    depth, width, centre = (np.interp(inside, _HEAD[:, 0], _HEAD[:, k]) for k in (1, 2, 3))
    top = np.clip((f - 0.9) / 0.1, 0, 1)
    x = centre + (depth * scale + thick * (1 - top)) * np.cos(angle) - flow * np.clip(0.3 - f, 0, None)
    y = (width * scale + thick * (1 - top)) * np.sin(angle)
    z = CHIN + f * (1 - CHIN) + thick * 0.9 * np.clip((f - 0.6) / 0.4, 0, 1)
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3) * H
    u0, v0, u1, v1 = tile(name)
    u = u0 + (u1 - u0) * (angle / (2 * np.pi) + 0.5) + np.zeros_like(f)
    v = v0 + (v1 - v0) * (1 - np.linspace(0, 1, rows)[:, None]) + np.zeros_like(f)
    bones, weight = Skin((gait.HEAD, gait.CHEST), (0.84 * H,), 0.05 * H)(points)
    return Mesh(points, np.stack([u, v], axis=-1).reshape(-1, 2), bones, weight, grid_triangles(rows, columns + 1))


def _hair(person: Identity) -> list[Mesh]:
    angle = np.abs(np.linspace(-np.pi, np.pi, 19))
    style, H = person.hair_style, person.height_m
    if style == "bald":
        return []
    side = {"long": -0.75, "bob": 0.02}.get(style, 0.46)
    back = {"long": -1.15, "bob": -0.10, "short": 0.14, "ponytail": 0.22, "bun": 0.22}[style]
    low = np.interp(angle, [0, 0.75, 1.15, 1.75, 2.3, np.pi], [0.84, 0.78, side + 0.12, side, back, back])
    parts = [
        _cap(person, low, 1.03, {"short": 0.003, "bob": 0.008, "long": 0.007}.get(style, 0.003), "hair", flow=0.012)
    ]
    skin = Skin((gait.HEAD,))
    if style == "ponytail":
        parts.append(ellipsoid((-0.075 * H, 0, 0.90 * H), (0.020 * H, 0.018 * H, 0.058 * H), tile("hair"), skin, 8, 6))
    if style == "bun":
        parts.append(ellipsoid((-0.068 * H, 0, 0.965 * H), (0.026 * H, 0.028 * H, 0.026 * H), tile("hair"), skin, 8, 6))
    return parts


def _hat(person: Identity) -> list[Mesh]:
    angle = np.abs(np.linspace(-np.pi, np.pi, 19))
    H = person.height_m
    if person.hat == "beanie":
        return [_cap(person, np.interp(angle, [0, np.pi], [0.70, 0.50]), 1.07, 0.013, "hat")]
    if person.hat != "cap":
        return []
    brim = ellipsoid(
        (0.060 * H, 0, (CHIN + 0.72 * (1 - CHIN)) * H),
        (0.050 * H, 0.040 * H, 0.005 * H),
        tile("hat"),
        Skin((gait.HEAD,)),
        12,
        4,
    )
    return [_cap(person, np.full(19, 0.68), 1.07, 0.012, "hat"), brim]


def _skirt(H: float, build: float, top: float, bottom: float, start: float, end: float, name: str) -> Mesh:
    """A cone of cloth from the hips; its halves follow the thighs a little."""
    z = np.linspace(bottom, top, 7)
    f = (top - z) / (top - bottom)
    radius = (start + (end - start) * f**0.8) * (1 + 0.8 * (build - 1))
    sections = _columns(z, radius * 0.82, radius * 1.02, np.full_like(z, -0.002), np.zeros(1)) * H
    mesh = loft(sections, 18, tile(name), Skin((gait.PELVIS,)))
    side = np.where(mesh.points[:, 1] > 0, gait.L_THIGH, gait.R_THIGH)
    lower = np.clip((top * H - mesh.points[:, 2]) / ((top - bottom) * H), 0, 1)
    # Near the middle both thighs pull, so the front stays with the pelvis and only the sides swing.
    follow = 0.85 * lower * np.clip(np.abs(mesh.points[:, 1]) / (0.035 * H), 0, 1)
    bones = np.stack([np.full_like(side, gait.PELVIS), side], axis=1)
    return Mesh(mesh.points, mesh.uv, bones, 1 - follow, mesh.triangles)


def _bag(person: Identity) -> list[Mesh]:
    H = person.height_m
    if person.bag == "backpack":
        x = -(0.058 + LOOSE[person.top] + 0.045) * H
        return [
            ellipsoid((x, 0, 0.70 * H), (0.048 * H, 0.080 * H, 0.115 * H), tile("bag"), Skin((gait.CHEST,)), 14, 8, 4.0)
        ]
    if person.bag == "shoulder bag":
        y = -(0.105 * person.build + 0.040) * H
        return [
            ellipsoid(
                (-0.03 * H, y, 0.50 * H),
                (0.085 * H, 0.028 * H, 0.060 * H),
                tile("bag"),
                Skin((gait.PELVIS,)),
                12,
                8,
                4.5,
            )
        ]
    if person.bag == "handbag":
        y = 0.104 * person.shoulders * H
        return [
            ellipsoid(
                (0.0, y, 0.315 * H), (0.085 * H, 0.032 * H, 0.062 * H), tile("bag"), Skin((gait.L_HAND,)), 12, 8, 4.5
            )
        ]
    return []


def arm_carry(person: Identity) -> tuple[float, float]:
    """How freely the left and the right arm swing."""
    return (0.35 if person.bag == "handbag" else 1.0, 0.6 if person.bag == "shoulder bag" else 1.0)


def lap(mesh: Mesh) -> Array:
    """(v,) weight of the first bone when seated: skirts and coat tails then lie on the thighs, in front as well."""
    weight = mesh.weight.copy()
    cloth = (mesh.bones[:, 0] == gait.PELVIS) & np.isin(mesh.bones[:, 1], (gait.L_THIGH, gait.R_THIGH))
    for name in ("skirt", "tail"):
        u0, v0, u1, v1 = tile(name)
        u, v = mesh.uv.T
        rows = cloth & (u >= u0) & (u <= u1) & (v >= v0) & (v <= v1)
        weight[rows] = np.clip(1 - 4 * (v[rows] - v0) / (v1 - v0), 0, 1)
    return weight
