"""Camera styles: where a camera hangs, what light it sees in, and what its lens, sensor and encoder do to a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class CameraStyle:
    """One camera, the same for everyone it sees.

    Attributes:
        camid: 1-based, unique in the data set; place: number of the place it looks at.
        height_m, distance_m: of the lens above the floor and to the people (near, far).
        native_px: people's usual height in its picture; azimuth_deg: where it looks.
        sun_deg: (azimuth, elevation) of the light; key, sky, bounce: its RGB strengths; shadows: whether it casts any.
        gain, gamma, exposure, contrast, saturation: colour; noise: grey levels; blur_px, sharpen: lens and firmware.
        quality: of its JPEG encoder; h264_crf: of its video encoder, 0 for none.
        headings: which way people mostly walk here, degrees against the line of sight.
        cluttered: how often a thing of the place stands between it and people.
    """

    camid: int
    place: int
    indoor: bool
    height_m: float
    distance_m: tuple[float, float]
    native_px: float
    azimuth_deg: float
    sun_deg: tuple[float, float]
    key: Triple
    sky: Triple
    bounce: Triple
    wrap: float
    shadows: bool
    gain: Triple
    gamma: float
    exposure: float
    contrast: float
    saturation: float
    noise: float
    blur_px: float
    motion_px: float
    sharpen: float
    quality: int
    h264_crf: int
    headings: tuple[float, ...]
    cluttered: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _rgb(values: Any) -> Triple:
    r, g, b = (round(float(x), 4) for x in values)
    return (r, g, b)


def sample_camera(camid: int, place: int, indoor: bool, rng: np.random.Generator) -> CameraStyle:
    """A camera at random: most are decent, some are bad."""

    def u(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    sunny = not indoor and rng.random() < 0.4
    warm = rng.normal(0, 0.06)
    key = (1.5, 0.8)[not sunny] * u(0.8, 1.2) if not indoor else u(0.35, 0.8)
    ambient = u(0.28, 0.5) if sunny else u(0.5, 0.8)
    tint = rng.normal(0, 0.02, 3)
    near = u(2.5, 6) if indoor else u(4, 16)
    bad = rng.random() < 0.25
    main = float(rng.uniform(0, 360))
    return CameraStyle(
        camid,
        place,
        indoor,
        height_m=u(1.9, 3.2) if indoor else round(float(np.exp(rng.uniform(np.log(1.5), np.log(7)))), 3),
        distance_m=(near, near * u(1.5, 2.5)),
        native_px=round(float(np.clip(np.exp(rng.normal(np.log(88), 0.5)), 36, 280)), 1),
        azimuth_deg=u(0, 360),
        sun_deg=(u(0, 360), u(60, 85) if indoor else u(22, 65)),
        key=_rgb(key * f for f in (1 + warm + 0.05 * sunny, 1.0, 1 - warm - 0.1 * sunny)),
        sky=_rgb(ambient * (np.array([1 - 0.06 * (not indoor), 1.0, 1 + 0.08 * (not indoor)]) + tint)),
        bounce=_rgb(0.55 * ambient * f for f in (1.04, 1.0, 0.94)),
        wrap=u(0.1, 0.3) if sunny else u(0.4, 0.8),
        shadows=bool(sunny or (indoor and rng.random() < 0.3)),
        gain=_rgb(np.exp(rng.normal(0, 0.055, 3) + np.array([1, 0, -1]) * rng.normal(0, 0.05))),
        gamma=u(1.8, 2.5),
        exposure=round(float(np.exp(rng.normal(0.06, 0.27))), 4),
        contrast=u(0.9, 1.38),
        saturation=round(float(np.clip(rng.normal(0.95, 0.2), 0.4, 1.4)), 3),
        noise=u(3, 11) if bad else u(0.5, 4),
        blur_px=u(0.7, 1.5) if bad else u(0.25, 0.8),
        motion_px=u(0.0, 3.5),
        sharpen=u(0.2, 0.9) if rng.random() < 0.35 else 0.0,
        quality=int(rng.integers(28, 60) if bad else rng.integers(60, 95)),
        h264_crf=int(rng.integers(24, 35)) if rng.random() < 0.3 else 0,
        headings=tuple(round(main + d, 1) for d in ((0, 180) if rng.random() < 0.7 else (0, 90, 180, 270))),
        cluttered=u(0.15, 0.45) if rng.random() < 0.5 else 0.03,
    )


def develop(light: Float32, camera: CameraStyle, rng: np.random.Generator, native_px: float) -> Image:
    """From (h, w, 3) linear RGB to the (h, w, 3) uint8 BGR picture of the camera.

    Blur and sharpening are those of the sensor's pixels; noise is correlated like that of a demosaiced, scaled picture.
    """
    size = native_px / camera.native_px
    gain = np.asarray(camera.gain, np.float32) * np.float32(camera.exposure * np.exp(rng.normal(0, 0.07)))
    x = np.clip(light * gain, 0, None)
    x = x / (1 + 0.18 * x) * 1.05  # shoulder of the film curve
    x = np.power(np.clip(x, 0, 1), np.float32(1 / camera.gamma))
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = grey[..., None] + (x - grey[..., None]) * np.float32(camera.saturation)
    x = (x - 0.45) * np.float32(camera.contrast) + 0.45
    blur = camera.blur_px * float(np.clip(size, 0.6, 1.6)) * float(np.exp(rng.normal(0, 0.25)))
    if blur > 0.2:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), blur), np.float32)
    if camera.sharpen > 0:
        soft = np.asarray(cv2.GaussianBlur(x, (0, 0), 1.2), np.float32)
        x = x + np.float32(camera.sharpen) * (x - soft)
    noise = rng.standard_normal(x.shape, np.float32) * np.float32(camera.noise / 255)
    noise = 0.5 * noise + 0.5 * noise.mean(axis=2, keepdims=True) * np.float32(1.7)
    if camera.noise > 4:
        noise = 1.5 * np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.7), np.float32)
    x = x + noise * (0.6 + 0.8 * (1 - np.clip(x, 0, 1)))
    picture = (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)[..., ::-1]
    return np.ascontiguousarray(picture)


def video_frame(picture: Image, crf: int) -> Image:
    """What H.264 leaves of a picture: a clip of this one frame, encoded and decoded."""
    import av

    height, width = (n + n % 2 for n in picture.shape[:2])
    bottom, right = height - picture.shape[0], width - picture.shape[1]
    padded: Any = cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate = 25  # type: ignore[assignment]
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
    decoder = av.CodecContext.create("h264", "r")
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(padded, format="bgr24")), *encoder.encode(None)]
    frames = [f for p in packets for f in decoder.decode(p)] + list(decoder.decode(None))
    if not frames:
        return picture
    return np.ascontiguousarray(frames[-1].to_ndarray(format="bgr24")[: picture.shape[0], : picture.shape[1]])
