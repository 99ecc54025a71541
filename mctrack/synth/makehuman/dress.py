"""Dressing a body: from a `Person` to the layers of skin, clothes, shoes, hair and bags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.makehuman import materials as mat
from mctrack.synth.makehuman.assets import Assets
from mctrack.synth.makehuman.body import Body, build
from mctrack.synth.makehuman.layers import FAR, Cutter, Layer, cut, join
from mctrack.synth.makehuman.person import LONG_HAIR, OUTER, Person
from mctrack.synth.makehuman.rig import Rig

Float32 = NDArray[np.float32]


class Wardrobe:
    """Collects layers and materials while one person is being dressed."""

    def __init__(self, assets: Assets, rig: Rig, person: Person) -> None:
        self.person = person
        self.body: Body = build(assets, rig, person.shape)
        self.cutter = Cutter(assets, rig, self.body)
        self.layers: list[Layer] = []
        self.table: list[Float32] = []
        m = self.body.marks
        thigh = m["hip"] - m["knee"]
        leg = m["crotch"] - 0.03
        self.hem = m["hip"] - person.top_length * thigh
        self.leg_end = m["crotch"] - person.bottom_length * leg if person.bottom_length < 0.95 else 0.035
        self.collar = m["neck"] - 0.005

    def material(self, row: Float32) -> int:
        """Add a row to the material table."""
        self.table.append(row)
        return len(self.table) - 1

    def add(self, layer: Layer) -> None:
        """Keep what is left of a layer after its cuts."""
        layer = layer.trimmed()
        if len(layer.triangles):
            self.layers.append(layer)

    def dress(self) -> tuple[Layer, NDArray[np.int16], Float32]:
        """All layers as one mesh, the material of every triangle, the material table."""
        self._skin()
        self._bottom()
        self._top()
        self._feet()
        self._head()
        self._bag()
        mesh, which = join(self.layers)
        return mesh, which, np.stack(self.table)

    def _skin(self) -> None:
        p, b = self.person, self.body
        row = self.material(mat.skin(b, p))
        y, arm, along = b.canonical[:, 1], b.arm, b.along
        trunk = arm < 0.5
        covered = trunk & (y > min(self.hem, b.marks["waist"]) + 0.02) & (y < self.collar - 0.06)
        covered |= ~trunk & (along < p.sleeve - 0.12)
        if p.bottom.kind != "skirt":
            covered |= trunk & (y < b.marks["waist"] - 0.02) & (y > self.leg_end + 0.05)
        covered |= trunk & (y < 0.055)  # feet, in shoes
        keep = _near(~covered, self.cutter.assets.base.triangles("body"))
        self.layers.append(self.cutter.base("body", 0.0, row, keep))
        eyes = self.material(mat.eye(b))
        for side in "lr":
            self.layers.append(self.cutter.base(f"helper-{side}-eye", 0.0, eyes))

    def _legs(self) -> Float32:
        """(v,) thickness of what covers the legs, by height."""
        m, (hip, knee, ankle) = self.body.marks, self.person.leg_loose_m
        y = self.body.canonical[:, 1]
        return np.interp(
            y,
            [m["ankle"], m["knee"], m["crotch"], m["waist"]],
            [ankle, knee, 0.6 * knee + 0.4 * hip, 0.3 * hip + 0.002],
        ).astype(np.float32)

    def _bottom(self) -> None:
        p, b = self.person, self.body
        row = self.material(mat.bottom(b, p))
        waist = b.marks["hip"] + 0.30 * (b.marks["waist"] - b.marks["hip"]) + 0.04
        if p.bottom.kind == "skirt":
            layer = self._skirt(row, waist, self.leg_end, p.leg_loose_m[2])
        else:
            layer = self.cutter.base("helper-tights", self._legs(), row, b.arm < 0.4)
            layer = cut(layer, 0, layer.canonical[:, 1] - self.leg_end)
        self.add(cut(layer, 1, waist - layer.canonical[:, 1]))

    def _skirt(self, row: int, waist: float, hem: float, flare: float, thickness: float = 0.004) -> Layer:
        """From MakeHuman's skirt outline; ``flare`` metres more at the hem."""
        y = self.body.canonical[:, 1]
        out = thickness + flare * np.clip((waist - y) / max(waist - hem, 0.1), 0, 1)
        layer = self.cutter.base("helper-skirt", out, row)
        return cut(layer, 0, layer.canonical[:, 1] - hem)

    def _top(self) -> None:
        p, b = self.person, self.body
        row = self.material(mat.top(b, p))
        outer = p.top.kind in OUTER
        if outer and (p.opened > 0 or p.top.kind == "blazer"):
            inner = self._trunk(
                self.material(mat.cloth(b, p.inner, p.seed + 3)), 0.003, b.marks["hip"] - 0.08, 0.3, 0.0
            )
            self.add(self._neckline(inner, 0.0))
        if p.source:
            layer = self.cutter.worn("clothes", p.source, row, low=b.marks["hip"] - 0.05, out=0.4 * p.loose_m)
            if p.sleeve < 0.9:
                layer = cut(layer, 1, _sleeve(layer, p.sleeve))
        else:
            layer = self._trunk(
                row, p.loose_m, self.hem if self.hem > b.marks["hip"] else b.marks["hip"] + 0.01, p.sleeve, p.opened
            )
            layer = (
                layer
                if outer or p.hood
                else self._neckline(layer, 0.07 if p.top.kind in ("shirt", "polo") or p.seed % 4 == 0 else 0.0)
            )
        if p.top.kind == "blazer" and not p.source:
            layer = self._neckline(layer, 0.22)
        self.add(layer)
        if self.hem < b.marks["hip"] and not p.source:
            flare = 0.006 + 0.06 * max(b.marks["hip"] - self.hem - 0.1, 0) + 0.3 * p.loose_m
            tail = self._skirt(row, b.marks["hip"] + 0.06, self.hem, flare, p.loose_m * 1.2 + 0.002)
            tail = cut(tail, 1, b.marks["hip"] + 0.05 - tail.canonical[:, 1])
            self.add(_open_front(tail, p.opened, self.hem, b.marks["shoulder"]))
        self._neckwear(row)

    def _trunk(self, row: int, loose: float, hem: float, sleeve: float, opened: float) -> Layer:
        """A top from the tights' outline, ``loose`` metres off the body, wider over the belly and in the sleeves."""
        b, m = self.body, self.body.marks
        y = b.canonical[:, 1]
        out = (
            np.interp(
                y, [m["crotch"] - 0.1, m["waist"], m["chest"], m["shoulder"], m["neck"]], [1.25, 1.15, 0.9, 0.6, 0.35]
            )
            * loose
        )
        sleeves = np.interp(b.along, [-0.1, 0.15, 0.5, 0.9, 1.05], [0.55, 0.8, 0.85, 0.7, 0.5]) * loose
        if sleeve < 0.6:
            sleeves = sleeves + 0.012 * np.clip(b.along, 0, 0.5)
        layer = self.cutter.base("helper-tights", out * (1 - b.arm) + sleeves * b.arm + 0.0015, row)
        layer = cut(layer, 0, layer.canonical[:, 1] - hem + FAR * np.clip(layer.arm * 4 - 1, 0, 1))
        layer = cut(layer, 1, _sleeve(layer, sleeve))
        return _open_front(layer, opened, hem, m["shoulder"])

    def _neckline(self, layer: Layer, depth: float) -> Layer:
        """Round, or a V of ``depth`` metres in front."""
        x, y, z = layer.canonical.T
        v = depth * np.clip(1 - np.abs(x) / 0.07, 0, 1) * (z > 0.0) + 0.03 * (z > 0.02) * np.clip(
            1 - np.abs(x) / 0.08, 0, 1
        )
        return cut(layer, 2, self.collar - v - y + FAR * (layer.arm > 0.5))

    def _neckwear(self, top: int) -> None:
        p, m = self.person, self.body.marks
        back = self.body.marks["head_z"] - 0.055
        if p.hood == "down" and p.hair not in LONG_HAIR:
            self.add(self.cutter.lump("chest", (0, m["neck"] - 0.02, back - 0.075), (0.105, 0.075, 0.06), 2.4, top))
        elif p.hood == "up":
            y = self.body.canonical[:, 1]
            layer = self.cutter.base(
                "body",
                0.024 + 0.008 * (y > m["eye"]),
                top,
                (y > m["neck"] - 0.08) & (self.body.arm < 0.2) & (np.abs(self.body.canonical[:, 0]) < 0.13),
            )
            x, y, z = layer.canonical.T
            face = (x / 0.062) ** 2 + ((y - m["eye"] + 0.025) / 0.098) ** 2 - 1
            self.add(cut(layer, 0, np.where(z > m["head_z"] + 0.01, face, 0.5)))
        if p.scarf:
            row = self.material(mat.plain(self.body, p.scarf_rgb, p.seed, PAT=1.0, SCALE=0.05, DUTY=0.5))
            self.add(self.cutter.lump("neck", (0, m["neck"] + 0.005, back + 0.03), (0.085, 0.05, 0.085), 2.2, row))

    def _feet(self) -> None:
        p, b = self.person, self.body
        row = self.material(mat.leather(b, p.shoe_rgb, p.sole_rgb, p.seed, CUFF_Y=0.028))
        socks = self.material(mat.plain(b, p.socks_rgb, p.seed))
        shoe = self.cutter.worn("clothes", p.shoes, row, high=0.09)
        self.add(shoe)
        if p.bottom_length < 0.95 and p.seed % 3:
            layer = self.cutter.base("helper-tights", 0.001, socks, b.canonical[:, 1] < b.marks["knee"])
            self.add(cut(layer, 0, b.marks["ankle"] + 0.02 + 0.12 * (p.seed % 5 == 1) - layer.canonical[:, 1]))

    def _head(self) -> None:
        p, b = self.person, self.body
        m, row = b.marks, self.material(mat.hair(b, p))
        scalp = b.canonical[:, 1] > m["eye"] - 0.09
        if p.hat == "fedora":
            self.add(
                self.cutter.worn(
                    "clothes", "fedora01", self.material(mat.leather(b, p.hat_rgb, p.hat_rgb, p.seed, GLOSS=0.0))
                )
            )
        elif p.hat:
            hat = self.material(mat.plain(b, p.hat_rgb, p.seed, FOLD=0.1, QUILT=0.0))
            layer = self.cutter.base("body", 0.013 if p.hat == "cap" else 0.016, hat, scalp)
            _, y, z = layer.canonical.T
            slope = 0.22 if p.hat == "cap" else 0.30
            self.add(cut(layer, 0, y - (m["eye"] + 0.022 + slope * (z - m["head_z"]))))
            if p.hat == "cap":
                turned = -1.0 if p.seed % 6 == 0 else 1.0
                reach = (m["head_front"] if turned > 0 else m["head_back"]) + turned * 0.02
                self.add(self.cutter.lump("head", (0, m["eye"] + 0.035, reach), (0.07, 0.007, 0.065), 2.6, hat))
        if p.hair in ("bald", "cropped") or p.hood == "up":
            return
        if p.hair == "bun":
            layer = self.cutter.base("body", 0.009, row, scalp)
            _x, y, z = layer.canonical.T
            self.add(cut(layer, 0, y - (m["eye"] + 0.035 + 0.75 * (z - m["head_z"]))))
            self.add(
                self.cutter.lump("head", (0, m["eye"] + 0.045, m["head_back"] - 0.025), (0.04, 0.04, 0.036), 2.0, row)
            )
            return
        layer = self.cutter.worn("hair", p.hair, row)
        if p.hat:  # hair stays below the brim
            layer = cut(layer, 0, m["eye"] + 0.03 - layer.canonical[:, 1])
        self.add(layer)

    def _bag(self) -> None:
        p, b = self.person, self.body
        if not p.bag:
            return
        m, k = b.marks, p.bag_size
        row = self.material(mat.leather(b, p.bag_rgb, tuple(0.7 * c for c in p.bag_rgb), p.seed, GLOSS=0.08, POCKET=1))  # type: ignore[arg-type]
        side = "L" if p.seed % 2 else "R"
        sign = 1.0 if side == "L" else -1.0
        torso = m["shoulder"] - m["hip"]
        if p.bag == "backpack":
            trunk = (b.arm < 0.3) & (np.abs(b.canonical[:, 1] - m["chest"]) < 0.05)
            back = float(b.canonical[trunk, 2].min()) - p.loose_m
            self.add(
                self.cutter.lump(
                    "chest", (0, m["hip"] + 0.62 * torso, back - 0.075 * k), (0.145 * k, 0.215 * k, 0.085 * k), 4.0, row
                )
            )
        elif p.bag == "shoulder bag":
            self.add(
                self.cutter.lump(
                    "pelvis",
                    (sign * (m["hip_x"] + 0.125 + p.loose_m), m["hip"] - 0.06, 0.0),
                    (0.05 * k, 0.11 * k, 0.14 * k),
                    4.0,
                    row,
                )
            )
        else:
            hand = b.canonical[(b.along > 1.15) & (b.arm > 0.5) & (sign * b.canonical[:, 0] > 0)].mean(axis=0)
            size = (0.045 * k, 0.12 * k, 0.15 * k) if p.bag == "handbag" else (0.05 * k, 0.19 * k, 0.13 * k)
            bag = self.cutter.lump(f"held.{side}", (hand[0], hand[1] - 0.05 - size[1], hand[2]), size, 3.5, row)
            self.add(bag)


def _near(keep: NDArray[np.bool_], triangles: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Vertices of triangles with a kept corner: the skin reaches a little under its clothes."""
    out = np.zeros_like(keep)
    out[triangles[keep[triangles].any(axis=1)]] = True
    return out


def _sleeve(layer: Layer, end: float) -> Float32:
    """Cut value of sleeves that end at ``end`` along the arm; the trunk is never cut."""
    return np.asarray((end - layer.along) * layer.arm + 0.5 * (1 - layer.arm), np.float32)


def _open_front(layer: Layer, opened: float, hem: float, shoulder: float) -> Layer:
    """Cut a wedge out of the front, ``opened`` metres wide at the hem."""
    if opened <= 0:
        return layer
    x, y, z = layer.canonical.T
    half = 0.5 * opened * (0.45 + 0.55 * np.clip((shoulder - y) / max(shoulder - hem, 0.1), 0, 1))
    return cut(layer, 3, np.where((z > 0.0) & (layer.arm < 0.3), np.abs(x) - half, 0.5))
