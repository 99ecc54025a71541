"""Measure what an embedder's distances mean, on videos whose truth is known.

    python eval/calibrate_reid.py --reid histogram --out reid_models/calibrations/histogram.json \
        --scene pets:DIR/pets09_s2l1/vtest.avi=DIR/pets09_s2l1/gt_reentry.txt@0.625 \
        --scene own:cam1.mp4=cam1.txt,cam2.mp4=cam2.txt --simulate 4 --backgrounds lobby.mp4 street.jpg

A scene is one or more cameras, ``video=truth[@scale]``: a video or a folder of numbered pictures, its MOTChallenge
truth (identities hold across the scene's cameras) and, where the video was shrunk, the factor. Pairs of one person
are taken from different cameras, or from moments at least ``--gap`` seconds apart in one; pairs of different people
from anywhere; every person counts alike. ``--simulate K`` adds K cameras to each
scene that show the same people in another light, blur, size, box and, where the camera stood still, before another
background: the nearest thing to several cameras where there is one. A simulated camera never gives a moment back
to the camera it was made from, so that a scene of a few frames adds pairs of different people only.

``--compare`` says what is compared: ``means`` of up to 8 crops of a tracklet's 4 seconds, as the associator does,
single ``crops``, or a crop with a mean (``mixed``), as the tracker does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_models import Calibration, ReidError, load

Picture = NDArray[np.uint8]
TRACKLET_S, TRACKLET_CROPS = 4, 8


@dataclass
class Camera:
    """Crops of one camera: pictures with their person, time in seconds and share that is foreground, if known."""

    images: list[Picture]
    masks: list[NDArray[np.float32] | None]
    person: NDArray[np.int64]
    time_s: NDArray[np.float64]
    simulated: bool = False


def frames_of(source: Path) -> Iterator[tuple[int, float, Picture]]:
    """(1-based number, time in seconds, BGR picture) of a video's or a folder's frames."""
    if source.is_dir():
        for path in sorted(source.glob("*.jpg")) + sorted(source.glob("*.png")):
            yield int(path.stem), int(path.stem) / 25, cv2.imread(str(path))
        return
    import av

    with av.open(str(source)) as container:
        rate = float(container.streams.video[0].average_rate or 25)
        for number, frame in enumerate(container.decode(video=0), 1):
            yield number, number / rate, frame.to_ndarray(format="bgr24")


def still(source: Path) -> Picture:
    """The scenery of a picture or of a video: the median over its length."""
    if source.suffix.lower() in (".jpg", ".png"):
        return cv2.imread(str(source))
    every = [picture for number, _, picture in frames_of(source) if number % 8 == 1]
    return np.median(np.stack(every[:: max(1, len(every) // 60)]), axis=0).astype(np.uint8)


def read_camera(spec: str, every: int) -> Camera:
    """The crops of ``video=truth[@scale]``: people mostly in view, neither hidden nor cut."""
    video, _, truth_path = spec.partition("=")
    truth_path, _, scale = truth_path.partition("@")
    truth = np.loadtxt(truth_path, delimiter=",", ndmin=2)
    truth = truth[truth[:, 6] != 0]
    if truth.shape[1] == 9:  # MOT17: pedestrians (class 1), mostly visible
        truth = truth[(truth[:, 7] == 1) & (truth[:, 8] > 0.6)]
    source = Path(video)
    scenery = None if source.is_dir() else still(source).astype(np.float32)
    images, masks, rows = [], [], []
    for number, time_s, picture in frames_of(source):
        here = truth[truth[:, 0] == number] if source.is_dir() or number % every == 0 else truth[:0]
        tlwh = (here[:, 2:6] - [1, 1, 0, 0]) * float(scale or 1)
        for k in usable(tlwh, picture.shape):
            x1, y1, x2, y2 = np.rint([*tlwh[k, :2], *(tlwh[k, :2] + tlwh[k, 2:])]).astype(int)
            images.append(picture[y1:y2, x1:x2].copy())
            masks.append(None if scenery is None else foreground(images[-1], scenery[y1:y2, x1:x2]))
            rows.append((here[k, 1], time_s))
    person, times = np.array(rows).reshape(-1, 2).T
    return Camera(images, masks, person.astype(np.int64), times)


def usable(tlwh: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Rows that lie inside the picture, are at least 32 px high and are covered by a tenth at most."""
    low, high = tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]
    side = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    covered = np.maximum(side, 0).prod(2) / np.maximum(tlwh[:, 2:].prod(1), 1)[:, None]
    np.fill_diagonal(covered, 0)
    inside = (low >= 0).all(1) & (high[:, 0] <= shape[1]) & (high[:, 1] <= shape[0])
    return np.flatnonzero(inside & (tlwh[:, 3] >= 32) & (covered.max(1, initial=0) < 0.1))


def foreground(crop: Picture, scenery: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 1) share of foreground, by difference from the empty scene."""
    difference = cv2.GaussianBlur(np.abs(crop - scenery).max(2), (0, 0), 0.8)
    return np.clip((difference - 14) / 16, 0, 1)[..., None].astype(np.float32)


def simulate(camera: Camera, backgrounds: list[Picture], rng: np.random.Generator) -> Camera:
    """The same people as another camera may show them: one look for all, but other boxes and places."""
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.1, 3))
    gamma, saturation = np.exp(rng.normal(0, 0.2)), rng.uniform(0.8, 1.2)
    blur, scale = rng.uniform(0, 1), rng.uniform(0.5, 1)
    scenery = backgrounds[rng.integers(len(backgrounds))] if backgrounds else None
    images = []
    for crop, mask in zip(camera.images, camera.masks, strict=True):
        picture = crop.astype(np.float32)
        if mask is not None and scenery is not None:
            picture = picture * mask + patch(scenery, crop.shape, rng) * (1 - mask)
        picture = reframe(picture, rng) / 255
        grey = picture.mean(2, keepdims=True)
        picture = np.clip((grey + (picture - grey) * saturation) * gain, 0, 1) ** gamma
        size = max(int(picture.shape[1] * scale), 4), max(int(picture.shape[0] * scale), 8)
        picture = cv2.resize(cv2.GaussianBlur(picture, (0, 0), blur + 1e-3), size, interpolation=cv2.INTER_AREA)
        noisy = picture * 255 + rng.normal(0, 2, picture.shape)
        images.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return Camera(images, [None] * len(images), camera.person, camera.time_s, True)


def patch(scenery: Picture, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """A random upright piece of a scene, brought to the shape of a crop."""
    height = int(scenery.shape[0] * rng.uniform(0.2, 0.5))
    width = min(max(height * shape[1] // shape[0], 4), scenery.shape[1])
    y, x = rng.integers(scenery.shape[0] - height + 1), rng.integers(scenery.shape[1] - width + 1)
    piece = scenery[y : y + height, x : x + width]
    return cv2.resize(piece, shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)


def reframe(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Another detector's box: each side moved by about a twentieth, repeating the border where it grows."""
    height, width = picture.shape[:2]
    top, bottom = np.rint(rng.normal(0, 0.05, 2) * height).astype(int)
    left, right = np.rint(rng.normal(0, 0.05, 2) * width).astype(int)
    grown = cv2.copyMakeBorder(picture, *(max(v, 0) for v in (top, bottom, left, right)), cv2.BORDER_REPLICATE)
    cut = [max(-v, 0) for v in (top, bottom, left, right)]
    return grown[cut[0] : grown.shape[0] - cut[1], cut[2] : grown.shape[1] - cut[3]]


def looks(camera: Camera, features: NDArray[np.float32], kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """(n, 2) of person and time, and (n, d) unit rows: means over tracklets of up to 4 s, or single crops."""
    if kind == "crops":
        return np.stack([camera.person, camera.time_s], 1), features
    labels, rows = [], []
    stretch = np.stack([camera.person, camera.time_s // TRACKLET_S], 1)
    for one in np.unique(stretch, axis=0):
        inside = np.flatnonzero((stretch == one).all(1))
        inside = inside[np.unique(np.linspace(0, len(inside) - 1, TRACKLET_CROPS).astype(int))]
        mean = features[inside].mean(0)
        labels.append((one[0], camera.time_s[inside].mean()))
        rows.append(mean / np.linalg.norm(mean))
    return np.array(labels), np.array(rows)


def pairs(cameras: list[Camera], embedder: Any, gap_s: float, compare: str) -> NDArray[Any]:
    """(n, 3) distance, and the two persons, of all pairs that may be compared."""
    kinds = {"mixed": ("crops", "means")}.get(compare, (compare, compare))
    described = [(camera, embedder.embed(camera.images)) for camera in cameras]
    left, right = ([looks(*entry, kind) for entry in described] for kind in kinds)
    rows = []
    for i, (a, a_rows) in enumerate(left):
        for j, (b, b_rows) in enumerate(right):
            if compare != "mixed" and j < i:
                continue
            allowed = np.ones((len(a), len(b)), bool)
            if i == j or cameras[i].simulated or cameras[j].simulated:
                allowed = (np.abs(a[:, None, 1] - b[:, 1]) >= gap_s) | (a[:, None, 0] != b[:, 0])
            if compare != "mixed" and i == j:
                allowed &= np.arange(len(a))[:, None] < np.arange(len(b))
            k, m = np.nonzero(allowed)
            people = np.sort(np.stack([a[k, 0], b[m, 0]], 1), axis=1)
            rows.append(np.column_stack([1 - (a_rows @ b_rows.T)[k, m], people]))
    return np.concatenate(rows)


def weights(rows: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) so that the pairs of each person (or of each two persons) count alike, and the scene as its persons."""
    if not len(rows):
        return np.zeros(0)
    _, group, count = np.unique(rows[:, 1:], axis=0, return_inverse=True, return_counts=True)
    return len(np.unique(rows[:, 1:])) / len(count) / count[group.ravel()]


def measure_scene(spec: str, args: argparse.Namespace, embedder: Any, backgrounds: list[Picture]) -> NDArray[Any]:
    """The pairs of one scene."""
    rng = np.random.default_rng(args.seed)
    cameras = [read_camera(part, args.every) for part in spec.partition(":")[2].split(",")]
    cameras += [simulate(cameras[k % len(cameras)], backgrounds, rng) for k in range(args.simulate)]
    rows = pairs(cameras, embedder, args.gap, args.compare)
    same = rows[:, 1] == rows[:, 2]
    print(f"{spec.partition(':')[0]}: {sum(len(c.images) for c in cameras)} crops in {len(cameras)} cameras; "
          f"{same.sum()} pairs of one person (distance 5/50/95%: {quantiles(rows[same, 0])}), "
          f"{(~same).sum()} of two ({quantiles(rows[~same, 0])})", flush=True)
    return rows


def quantiles(values: NDArray[Any]) -> str:
    return " ".join(f"{v:.3f}" for v in np.quantile(values, [0.05, 0.5, 0.95])) if len(values) else "-"


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reid", required=True)
    parser.add_argument("--scene", action="append", required=True, metavar="NAME:VIDEO=TRUTH[@SCALE][,...]")
    parser.add_argument("--backgrounds", nargs="*", type=Path, default=[])
    parser.add_argument("--compare", choices=["means", "mixed", "crops"], default="means")
    parser.add_argument("--simulate", type=int, default=0, metavar="CAMERAS")
    parser.add_argument("--every", type=int, default=5, help="take every so many frames of a video")
    parser.add_argument("--gap", type=float, default=5.0, help="seconds between two moments in one camera")
    parser.add_argument("--source", help="what was measured, in a few words; default: the scenes' names")
    parser.add_argument("--generic", action="store_true", help="mark it as standing in for other embedders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    embedder = load(args.reid, "cpu")
    backgrounds = [still(path) for path in args.backgrounds]
    scenes = [measure_scene(spec, args, embedder, backgrounds) for spec in args.scene]
    share = []
    for scene in scenes:
        twins, weight = scene[:, 1] == scene[:, 2], np.zeros(len(scene))
        weight[twins], weight[~twins] = weights(scene[twins]), weights(scene[~twins])
        share.append(weight)
    rows, weight = np.concatenate(scenes), np.concatenate(share)
    same = rows[:, 1] == rows[:, 2]
    source = args.source or ", ".join(spec.partition(":")[0] for spec in args.scene)
    result = Calibration.fit(rows[same, 0], rows[~same, 0], source, generic=args.generic,
                             same_weight=weight[same], different_weight=weight[~same])
    for rate in (0.001, 0.01, 0.05):
        at = result.threshold(rate)
        print(f"false links {rate:.1%}: distance {at:.3f}, true links {result.true_link_rate(at):.1%}")
    shown = np.arange(0.05, 1, 0.05)
    print("probability at even odds:", " ".join(f"{d:.2f}:{result.probability(d):.2f}" for d in shown))
    if args.out:
        args.out.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (ReidError, OSError) as error:
        raise SystemExit(f"calibrate_reid: {error}") from None
