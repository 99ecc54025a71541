"""Per-sample textures and light, compiled: cloth with patterns, prints, zips and folds, faces, hair, leather.

Textures are functions of the canonical coordinates (the body with arms hanging, metres), so that a stripe runs
around a sleeve and a print stays on the chest; they need no UVs and no images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.synth.zbuffer import Float32, Int32, compiled

NOISE = 32


def noise_volume(seed: int = 5) -> Float32:
    """(n, n, n) tileable random values 0…1 for `value_noise`."""
    return np.random.default_rng(seed).random((NOISE, NOISE, NOISE)).astype(np.float32)


@compiled
def value_noise(volume: Float32, x: float, y: float, z: float) -> float:
    """Smooth noise 0…1 with features of about one unit."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    i, j, k = int(fx) & 31, int(fy) & 31, int(fz) & 31
    i1, j1, k1 = (i + 1) & 31, (j + 1) & 31, (k + 1) & 31
    a = volume[i, j, k] * (1 - u) + volume[i1, j, k] * u
    b = volume[i, j1, k] * (1 - u) + volume[i1, j1, k] * u
    c = volume[i, j, k1] * (1 - u) + volume[i1, j, k1] * u
    d = volume[i, j1, k1] * (1 - u) + volume[i1, j1, k1] * u
    return (a * (1 - v) + b * v) * (1 - w) + (c * (1 - v) + d * v) * w


@compiled
def _second(volume: Float32, m: Float32, x: float, y: float, z: float, arm: float, along: float) -> float:
    """Share of the second colour in a cloth's pattern, 0…1."""
    kind, scale, duty = int(m[10]), m[11], m[13]
    h = y / scale + m[12]
    around = (x + 0.6 * z) / scale + m[12]
    if kind == 1:
        return 1.0 if h - np.floor(h) < duty else 0.0
    if kind == 2:
        a = 0.5 if h - np.floor(h) < duty else 0.0
        return a + (0.5 if around - np.floor(around) < duty else 0.0)
    if kind == 3:
        return 1.0 if y > m[18] and m[18] > 0 else 0.0
    if kind == 4:
        return 1.0 if abs(y - m[18]) < 0.035 + 0.05 * duty and m[18] > 0 else 0.0
    if kind == 5:
        return 1.0 if arm > 0.5 else 0.0
    if kind == 6:
        return 0.35 * value_noise(volume, x * 400, y * 90, z * 400)
    if kind == 7:
        n = value_noise(volume, x / scale * 1.6 + m[17], y / scale * 1.6, z / scale * 1.6)
        return 1.0 if n > 0.62 else (0.5 if n > 0.45 else 0.0)
    if kind == 8:
        a, b = around - np.floor(around) - 0.5, h - np.floor(h) - 0.5
        return 1.0 if a * a + b * b < 0.06 else 0.0
    if kind == 9:
        return 0.6 if around - np.floor(around) < 0.18 else 0.0
    if kind == 10:
        return 1.0 if around - np.floor(around) < duty else 0.0
    return 0.0


@compiled
def _print(volume: Float32, m: Float32, x: float, y: float, z: float, arm: float) -> float:
    """Share of the print's colour, 0…1."""
    kind = int(m[19])
    if kind == 0 or arm > 0.4:
        return 0.0
    back = z < -0.01
    if (kind == 5) != back and kind != 6:
        return 0.0
    u, v = (x - m[20]) / m[22], (y - m[21]) / m[23]
    if kind == 5:
        u, v = x / (m[22] * 1.3), (y - m[21]) / (m[23] * 1.3)
    if abs(u) > 1 or abs(v) > 1:
        return 0.0
    if kind == 2:
        r = u * u + v * v
        return 1.0 if r < 1 and (r > 0.55 or r < 0.25) else 0.0
    if kind == 3:
        line = v * 2.5 - np.floor(v * 2.5)
        return 1.0 if line > 0.35 and value_noise(volume, u * 7 + m[17], np.floor(v * 2.5) * 3.7, 0.5) > 0.42 else 0.0
    if kind == 5:
        return 1.0 if value_noise(volume, u * 3 + m[17], v * 3, 1.5) > 0.45 else 0.0
    if kind == 1:
        return 1.0 if value_noise(volume, u * 2 + m[17], v * 2, 2.5) > 0.3 else 0.4
    return 1.0


@compiled
def _cloth(volume: Float32, m: Float32, x: float, y: float, z: float, arm: float, along: float, out: Float32) -> None:
    s = _second(volume, m, x, y, z, arm, along)
    for k in range(3):
        out[k] = m[1 + k] * (1 - s) + m[4 + k] * s
    p = _print(volume, m, x, y, z, arm)
    if p > 0:
        for k in range(3):
            out[k] = out[k] * (1 - p) + m[7 + k] * p
    closing = int(m[24])
    if arm < 0.3 and z > 0 and closing > 0:
        if closing % 2 == 1 and abs(x) < 0.006:
            for k in range(3):
                out[k] = 0.5 * out[k] + 0.03
        if closing >= 2 and abs(x) < 0.011:
            t = y / 0.09 - np.floor(y / 0.09)
            f = 0.5 if t < 0.18 and abs(x) < 0.006 else 0.88
            for k in range(3):
                out[k] *= f
    if (
        m[29] > 0
        and z > 0
        and arm < 0.3
        and abs(abs(x) - 0.10) < 0.05
        and abs(y - m[29] - 0.3 * (abs(x) - 0.1)) < 0.006
    ):
        for k in range(3):
            out[k] *= 0.5
    if m[30] > 0 and abs(z) < 0.022 and abs(x) > 0.09:
        for k in range(3):
            out[k] = m[4 + k]
    if m[31] > 0:  # denim: paler on the thighs and seat, seams dark
        thigh = np.exp(-(((y - 0.5 * (m[35] + m[36])) / 0.16) ** 2)) * (0.5 + 0.5 * (1 if z > 0.02 else 0))
        f = 1 + m[31] * (1.3 * thigh * (0.6 + 0.4 * value_noise(volume, x * 30, y * 12, z * 30)) - 0.15)
        for k in range(3):
            out[k] = min(out[k] * f + 0.02 * m[31] * thigh, 0.9)
        if abs(z) < 0.008 and abs(x) > 0.08:
            for k in range(3):
                out[k] *= 0.75
    strap = int(m[25])
    if strap > 0 and arm < 0.35:
        on = (
            strap == 1
            and (z > -0.03 or y > m[38] - 0.02)
            and abs(abs(x) - 0.098) < 0.024
            and y > m[35] + 0.5 * (m[38] - m[35])
        )
        slope = 1.0 if strap == 2 else -1.0
        on = on or (strap > 1 and abs(slope * x * 1.9 + (y - 0.5 * (m[35] + m[38]))) < 0.042)
        if on:
            for k in range(3):
                out[k] = m[26 + k]


@compiled
def _skin(volume: Float32, m: Float32, x: float, y: float, z: float, arm: float, out: Float32) -> None:
    for k in range(3):
        out[k] = m[1 + k]
    if arm > 0.2 or y < m[44] - 0.12:
        return
    ex, ey = abs(x) - m[41], y - m[40]
    front = z > m[47] + 0.01
    scale = (m[43] - m[44]) / 0.15
    if front:
        brow = abs(ey - 0.021 * scale + 0.10 * (abs(ex) - 0.0)) < 0.005 and abs(ex) < 0.018
        socket = np.exp(-((ex / 0.016) ** 2) - (ey / 0.010) ** 2)
        mouth = np.exp(-((x / 0.022) ** 4) - ((ey + 0.071 * scale) / 0.008) ** 2)
        cheek = np.exp(-(((abs(x) - 0.042) / 0.025) ** 2) - ((ey + 0.045) / 0.03) ** 2)
        for k in range(3):
            c = out[k] * (1 - 0.45 * socket)
            c = c * (1 - mouth) + m[7 + k] * mouth
            if k == 0:
                c = min(c * (1 + 0.10 * cheek), 1.0)
            out[k] = m[4 + k] * 0.7 + c * 0.3 if brow else c
        jaw = ey < -0.052 * scale and ey > -0.13 * scale
        lip = ey < -0.048 * scale and ey > -0.066 * scale and abs(x) < 0.028
        if m[45] > 0 and (jaw or lip) and mouth < 0.4:
            f = m[45] * (0.6 + 0.4 * value_noise(volume, x * 160, y * 160, z * 160))
            for k in range(3):
                out[k] = out[k] * (1 - f) + m[4 + k] * f
    if m[46] > 0:
        # The hairline falls from above the forehead over the temples to the nape.
        line = m[40] + 0.052 * scale + 0.75 * (z - m[47] - 0.045)
        if z > m[47] + 0.03:
            line = m[40] + 0.050 * scale
        if y > line + 0.008 * (value_noise(volume, x * 60, 0.0, z * 60) - 0.5):
            f = 0.86 + 0.14 * value_noise(volume, x * 220, y * 120, z * 220)
            for k in range(3):
                out[k] = m[4 + k] * f


@compiled
def _albedo(volume: Float32, m: Float32, x: float, y: float, z: float, arm: float, along: float, out: Float32) -> None:
    kind = int(m[0])
    if kind == 1:
        _cloth(volume, m, x, y, z, arm, along, out)
    elif kind == 0:
        _skin(volume, m, x, y, z, arm, out)
    elif kind == 2:
        f = 0.55 + 0.9 * value_noise(volume, x * 190 + m[17], y * 22, z * 190)
        for k in range(3):
            out[k] = m[1 + k] * f
    elif kind == 3:
        sole = y < m[33]
        for k in range(3):
            out[k] = m[4 + k] if sole else m[1 + k]
        if m[29] > 0 and (abs(np.sin(y * 24.0)) < 0.07 or abs(np.sin(x * 22.0 + 1.5)) < 0.03):
            for k in range(3):
                out[k] *= 0.6
    else:
        for k in range(3):
            out[k] = m[1 + k]
    if m[14] > 0 and kind != 2:
        n = value_noise(volume, x * 14 + m[17], y * 14, z * 14) + 0.5 * value_noise(
            volume, x * 45, y * 45 + m[17], z * 45
        )
        f = 1 + m[14] * (1.33 * n - 1.0)
        for k in range(3):
            out[k] *= f


@compiled
def _shade(
    triangles: Int32,
    material: NDArray[np.int16],
    corner: Float32,
    table: Float32,
    volume: Float32,
    triangle: Int32,
    weight: Float32,
    light: Float32,
    shadow: Float32,
    frame: Float32,
    eye: Float32,
    out: Float32,
) -> None:
    height, width = triangle.shape
    v = np.zeros(11, np.float32)
    base = np.zeros(3, np.float32)
    for r in range(height):
        for c in range(width):
            t = triangle[r, c]
            if t < 0:
                continue
            wb, wc = weight[r, c, 0], weight[r, c, 1]
            wa = 1 - wb - wc
            for k in range(11):
                v[k] = (
                    wa * corner[triangles[t, 0], k] + wb * corner[triangles[t, 1], k] + wc * corner[triangles[t, 2], k]
                )
            m = table[material[t]]
            _albedo(volume, m, v[6], v[7], v[8], v[9], v[10], base)
            nx, ny, nz = v[3], v[4], v[5]
            vx, vy, vz = eye[0] - v[0], eye[1] - v[1], eye[2] - v[2]
            length = np.sqrt(vx * vx + vy * vy + vz * vz)
            vx, vy, vz = vx / length, vy / length, vz / length
            if nx * vx + ny * vy + nz * vz < 0:  # the inside of a cloth
                nx, ny, nz = -nx, -ny, -nz
            fold = m[15]
            if fold > 0:
                y = v[7]
                # Creases: strong at elbows, knees and the waist, along the limb elsewhere.
                bend = (
                    0.35
                    + 0.65 * np.exp(-(((y - m[36]) / 0.09) ** 2))
                    + 0.5 * np.exp(-(((y - m[35] - 0.08) / 0.09) ** 2))
                )
                nx += fold * bend * 2.4 * (value_noise(volume, v[6] * 16 + m[17], y * 11, v[8] * 16) - 0.5)
                ny += fold * bend * 2.4 * (value_noise(volume, v[6] * 9, y * 26 + m[17], v[8] * 9 + 7) - 0.5)
                nz += fold * bend * 1.2 * (value_noise(volume, v[6] * 16 + 3, y * 11, v[8] * 16 + m[17]) - 0.5)
            if m[32] > 0:  # quilted
                ny += 0.75 * np.sin(v[7] * 70.0 if v[9] < 0.5 else v[10] * 45.0)
            if m[0] == 2:
                nx += 0.9 * (value_noise(volume, v[6] * 120, v[7] * 12, v[8] * 120) - 0.5)
            s = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
            nx, ny, nz = nx * s, ny * s, nz * s
            lit = 1.0
            if shadow.shape[0] > 1:
                lit = shadow_at(shadow, frame, v[0] + 0.012 * nx, v[1] + 0.012 * ny, v[2] + 0.012 * nz)
            dot = nx * light[0] + ny * light[1] + nz * light[2]
            key = max((dot + light[12]) / (1 + light[12]), 0.0) * lit
            up = 0.5 + 0.5 * ny
            near = 0.62 + 0.38 * min(v[1] / 0.45, 1.0)
            hx, hy, hz = vx + light[0], vy + light[1], vz + light[2]
            hn = np.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
            spec = max((nx * hx + ny * hy + nz * hz) / hn, 0.0) ** 24 * m[16] * lit
            rim = 0.03 * m[15] * (1 - max(nx * vx + ny * vy + nz * vz, 0.0)) ** 3
            for k in range(3):
                ambient = (light[6 + k] * up + light[9 + k] * (1 - up)) * near
                out[r, c, k] = base[k] * (key * light[3 + k] + ambient) + spec * light[3 + k] + rim * ambient
            out[r, c, 3] = 1.0


@compiled
def shadow_at(shadow: Float32, frame: Float32, x: float, y: float, z: float) -> float:
    """Share 0…1 of direct light at a point: four taps into the map of what the light sees first.

    ``frame`` is (3, 4): rows map a point to column, row and nearness of the map.
    """
    u = frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z + frame[0, 3] - 0.5
    v = frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z + frame[1, 3] - 0.5
    near = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z + frame[2, 3]
    i, j = int(np.floor(u)), int(np.floor(v))
    a, b = u - i, v - j
    if i < 0 or j < 0 or i + 1 >= shadow.shape[1] or j + 1 >= shadow.shape[0]:
        return 1.0
    bias = np.float32(0.012)
    free = np.float32(0.0)
    free += (1 - a) * (1 - b) * (1.0 if shadow[j, i] <= near + bias else 0.0)
    free += a * (1 - b) * (1.0 if shadow[j, i + 1] <= near + bias else 0.0)
    free += (1 - a) * b * (1.0 if shadow[j + 1, i] <= near + bias else 0.0)
    free += a * b * (1.0 if shadow[j + 1, i + 1] <= near + bias else 0.0)
    return free


def shade(
    triangles: Int32,
    material: NDArray[np.int16],
    corner: Float32,
    table: Float32,
    triangle: Int32,
    weight: Float32,
    light: Float32,
    shadow: Float32,
    frame: Float32,
    eye: Float32,
    volume: Float32,
) -> Float32:
    """(h, w, 4) linear RGB and coverage of every sample.

    Args:
        triangles, material: of the mesh; table: of materials (`makehuman.materials`).
        corner: (v, 11) posed point, posed unit normal, canonical point, arm share, way along the arm.
        triangle, weight: of `zbuffer.draw`.
        light: (13,) direction to the light, its RGB, RGB from above, RGB from below, wrap 0…1.
        shadow: (n, m) nearness seen from the light, (1, 1) for none; frame: see `shadow_at`.
        eye: (3,) the camera's place; volume: of `noise_volume`.
    """
    out = np.zeros((*triangle.shape, 4), np.float32)
    _shade(triangles, material, corner, table, volume, triangle, weight, light, shadow, frame, eye, out)
    return out


@compiled
def _floor_light(x: Float32, z: Float32, shadow: Float32, frame: Float32, out: Float32) -> None:
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[r, c] = shadow_at(shadow, frame, x[r, c], np.float32(0.0), z[r, c])


def floor_light(x: Float32, z: Float32, shadow: Float32, frame: Float32) -> Float32:
    """(h, w) share of direct light that reaches floor points (x, 0, z)."""
    out = np.ones(x.shape, np.float32)
    _floor_light(np.ascontiguousarray(x), np.ascontiguousarray(z), shadow, frame, out)
    return out
