"""Sparse label smoothing: clusters of the training pictures, a GAN for each, generated pictures with partial labels.

The order of the paper's algorithm 1: features of a trained model are clustered by k-means, one DCGAN learns each
cluster's pictures, and what it generates is labelled 1/p_c for each of the p_c people of the cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_models.atomic import write_atomic
from reid_models.errors import ReidError

if TYPE_CHECKING:
    import torch

    from reid_models.gan import GanOptions

PLAN, CLUSTERS = "slsr.json", "clusters.npy"
_REPORTED = range(2, 6)
"""Numbers of clusters whose silhouette is told (the paper's table 2)."""
_SAMPLE = 5000
"""Pictures that a silhouette is taken over, at most."""


@dataclass(frozen=True)
class GeneratedImages:
    """Generated pictures and what they are taken for.

    Attributes:
        paths: m PNG files.
        cluster: (m,) int64, the cluster whose GAN made each.
        targets: (K, C) float32, the partial label of each cluster: 1/p_c for its p_c people, 0 for the others.
        silhouette: number of clusters → mean silhouette coefficient of the training features.
    """

    paths: tuple[Path, ...]
    cluster: NDArray[np.int64]
    targets: NDArray[np.float32]
    silhouette: dict[int, float]

    @property
    def soft(self) -> NDArray[np.float32]:
        """(m, C) the target distribution of each picture, for ``Target.soft``."""
        return self.targets[self.cluster]

    @property
    def pid(self) -> NDArray[np.int64]:
        """(m,) −1: nobody known."""
        return np.full(len(self.paths), -1, dtype=np.int64)

    def images(self, hw: tuple[int, int]) -> NDArray[np.uint8]:
        """(m, 3, h, w) uint8 RGB, resized to height and width in pixels.

        Raises:
            ReidError: a file is missing or no picture.
        """
        import cv2

        out = np.empty((len(self.paths), 3, *hw), dtype=np.uint8)
        for row, path in zip(out, self.paths, strict=True):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise ReidError(f"{path}: the generated picture is missing or damaged; generate into a new folder")
            row[:] = cv2.resize(picture, (hw[1], hw[0]), interpolation=cv2.INTER_LINEAR)[:, :, ::-1].transpose(2, 0, 1)
        return out


def partial_labels(cluster: NDArray[Any], pid: NDArray[Any], clusters: int, num_classes: int) -> NDArray[np.float32]:
    """(K, C) 1/p_c for each of the p_c people with a picture in cluster c, 0 for the others (SLSR eq. 9 and 10).

    With one cluster every person has 1/C: that is LSRO.

    Args:
        cluster: (n,) the cluster of each training picture.
        pid: (n,) its person, 0…C−1; below 0: counted for nobody.
        clusters: K.
        num_classes: C.
    """
    known = pid >= 0
    member = np.zeros((clusters, num_classes), dtype=bool)
    member[cluster[known], pid[known]] = True
    return (member / np.maximum(member.sum(1, keepdims=True), 1)).astype(np.float32)


def cluster_features(features: NDArray[Any], clusters: int, seed: int
                     ) -> tuple[NDArray[np.int64], dict[int, float]]:
    """Cluster (n, d) features by k-means (SLSR eq. 1).

    Returns:
        (n,) the cluster of each, and the mean silhouette coefficient for 2…5 clusters (of a sample of 5000).

    Raises:
        ReidError: more clusters than different pictures, features that are not finite, or no scikit-learn.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.metrics import silhouette_score
    except ImportError as error:
        raise ReidError(f"clustering needs scikit-learn, which cannot be imported ({error}); pip install scikit-learn"
                        ) from error

    rows = np.asarray(features, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ReidError("clustering: the features hold NaN or infinity")
    different = len(np.unique(rows, axis=0))
    if not 1 <= clusters <= different:
        raise ReidError(f"clusters: {clusters} out of {different} different pictures; choose 1…{different}")
    chosen, silhouette = np.zeros(len(rows), dtype=np.int64), {}
    for k in sorted({clusters, *_REPORTED}):
        if not 1 < k <= different:
            continue
        labels = KMeans(k, n_init=10, random_state=seed).fit_predict(rows)
        if k in _REPORTED and k < len(rows):
            sample = np.random.default_rng(seed).permutation(len(rows))[:_SAMPLE]
            if 1 < len(np.unique(labels[sample])) < len(sample):
                silhouette[k] = float(silhouette_score(rows[sample], labels[sample]))
        if k == clusters:
            chosen = labels.astype(np.int64)
    return chosen, silhouette


def prepare_slsr(images: NDArray[np.uint8], pid: NDArray[Any], features: NDArray[Any], out_dir: str | Path, *,
                 clusters: int = 3, per_cluster: int = 4000, steps: int = 2000, num_classes: int | None = None,
                 gan: GanOptions | None = None, generator: torch.Generator | None = None, device: str = "cpu",
                 say: Callable[[str], None] = lambda text: None) -> GeneratedImages:
    """Cluster the training pictures, train a GAN on each cluster and write what they generate.

    A folder that holds part of the work is taken up where it was left, by the same call, with the clusters that it
    holds; a finished one is read.

    Args:
        images: (n, 3, h, w) uint8 RGB training pictures of any one size; resized to the GAN's.
        pid: (n,) their people, 0…C−1.
        features: (n, d) of a trained model, before any head (``ModelOutput.pooled``).
        out_dir: gets ``slsr.json``, ``clusters.npy`` and ``cluster_<k>/*.png``.
        clusters: K; 3 in the paper.
        per_cluster: pictures to generate per cluster (the paper's best is about one per training picture in all).
        steps: of each GAN; the paper's 30 epochs of Market-1501 in batches of 64 are about 2000.
        num_classes: C; the largest pid + 1 by default.
        gan: sizes of the GANs.
        generator: the one draw from it decides all randomness; a fixed seed by default.
        device: ``cpu`` or ``cuda``.
        say: gets a line of progress now and then.

    Raises:
        ReidError: arrays that do not fit, or a folder with the work of other data or settings.
    """
    from reid_models.gan import GanOptions

    gan = gan or GanOptions()
    _check(images, pid, features, per_cluster, steps)
    classes = int(pid.max()) + 1 if num_classes is None else num_classes
    seed = 0 if generator is None else _draw(generator)
    if int(pid.max()) >= classes:
        raise ReidError(f"slsr: a pid of {int(pid.max())}, but num_classes is {classes}")
    settings = {"clusters": clusters, "per_cluster": per_cluster, "steps": steps, "num_classes": classes, "seed": seed,
                "gan": dict(vars(gan)), "pictures": _fingerprint(images, pid)}
    folder = Path(out_dir)
    plan, cluster = _plan(folder, settings, features, pid, say)
    for k in range(clusters):
        if k not in plan["finished"]:
            _generate(images[cluster == k], folder / f"cluster_{k}", plan, k, gan, device, say)
            plan["finished"].append(k)
            _write_plan(folder, plan)
    return load_generated(folder)


def load_generated(out_dir: str | Path) -> GeneratedImages:
    """What :func:`prepare_slsr` has written.

    Raises:
        ReidError: the folder holds no finished work.
    """
    folder = Path(out_dir)
    plan = _read_plan(folder)
    if plan is None or len(plan["finished"]) < plan["settings"]["clusters"]:
        raise ReidError(f"{folder}: no finished generated pictures; run the SLSR preparation (again) into this folder")
    clusters, count = plan["settings"]["clusters"], plan["settings"]["per_cluster"]
    targets = np.zeros((clusters, plan["settings"]["num_classes"]), dtype=np.float32)
    for row, people in zip(targets, plan["people"], strict=True):
        row[people] = 1 / max(len(people), 1)
    paths = tuple(_path(folder / f"cluster_{k}", i) for k in range(clusters) for i in range(count))
    silhouette = {int(k): value for k, value in plan["silhouette"].items()}
    return GeneratedImages(paths, np.repeat(np.arange(clusters), count), targets, silhouette)


# ---------------------------------------------------------------------- the folder


def _plan(folder: Path, settings: dict[str, Any], features: NDArray[Any], pid: NDArray[Any],
          say: Callable[[str], None]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The plan in the folder, made where there is none, and (n,) clusters."""
    plan = _read_plan(folder)
    if plan is not None:
        if plan["settings"] != settings:
            changed = [key for key in settings if plan["settings"].get(key) != settings[key]]
            raise ReidError(f"{folder} holds generated pictures of other settings ({', '.join(changed)}); "
                            "choose another folder, or the same settings to go on")
        try:
            return plan, np.load(folder / CLUSTERS, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ReidError(f"{folder / CLUSTERS} is missing or damaged; generate into a new folder") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReidError(f"the folder {folder} cannot be made: {error.strerror}") from error
    cluster, silhouette = cluster_features(features, settings["clusters"], settings["seed"])
    labels = partial_labels(cluster, pid, settings["clusters"], settings["num_classes"])
    for k, value in silhouette.items():
        say(f"{k} clusters: silhouette {value:.3f}")
    np.save(folder / CLUSTERS, cluster)
    plan = {"settings": settings, "silhouette": silhouette, "finished": [],
            "images": np.bincount(cluster, minlength=settings["clusters"]).tolist(),
            "people": [np.flatnonzero(row).tolist() for row in labels]}
    _write_plan(folder, plan)
    return plan, cluster


def _write_plan(folder: Path, plan: dict[str, Any]) -> None:
    write_atomic(folder / PLAN, json.dumps(plan, indent=1).encode())


def _read_plan(folder: Path) -> dict[str, Any] | None:
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if {"settings", "silhouette", "finished", "images", "people"} <= set(plan):
            return plan
    except (OSError, ValueError, TypeError):
        pass
    raise ReidError(f"{path} is damaged; generate into a new folder")


def _generate(images: NDArray[np.uint8], folder: Path, plan: dict[str, Any], k: int, options: GanOptions, device: str,
              say: Callable[[str], None]) -> None:
    """Train the GAN of cluster ``k`` (or go on with it) and write its pictures."""
    import cv2

    from reid_models.gan import Gan

    settings = plan["settings"]
    steps, every = settings["steps"], max(1, settings["steps"] // 10)

    def report(step: int, fooled: float, found: float) -> None:
        if step % every == 0:
            say(f"cluster {k + 1} of {settings['clusters']} ({len(images)} pictures): step {step} of {steps}, "
                f"generator {fooled:.3f}, discriminator {found:.3f}")

    model = Gan(options, settings["seed"] + 1 + k, device)
    model.train(_squares(images, options.size), steps, folder=folder / "training", save_every=every, report=report)
    pictures = model.make(settings["per_cluster"], settings["seed"] + 1001 + k).numpy()
    for i, picture in enumerate(pictures):
        if not cv2.imwrite(str(_path(folder, i)), np.ascontiguousarray(picture.transpose(1, 2, 0)[:, :, ::-1])):
            raise ReidError(f"{_path(folder, i)} cannot be written")


def _squares(images: NDArray[np.uint8], size: int) -> torch.Tensor:
    """(n, 3, size, size) uint8."""
    import torch
    from torch.nn import functional

    out = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for start in range(0, len(images), 256):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + 256])).float()
        part = functional.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
        out[start : start + 256] = part.round().clamp(0, 255).to(torch.uint8)
    return out


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.png"


def _check(images: NDArray[np.uint8], pid: NDArray[Any], features: NDArray[Any], per_cluster: int, steps: int) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise ReidError(f"slsr: images have to be (n, 3, h, w) uint8, got {images.shape} {images.dtype}")
    if pid.shape != (len(images),) or features.ndim != 2 or len(features) != len(images) or not len(images):
        raise ReidError(f"slsr: images {images.shape}, pid {pid.shape} and features {features.shape} do not fit")
    if per_cluster < 1 or steps < 1:
        raise ReidError(f"slsr: per_cluster {per_cluster} and steps {steps} have to be at least 1")


def _draw(generator: torch.Generator) -> int:
    import torch

    return int(torch.randint(2**30, (), generator=generator, device=generator.device))


def _fingerprint(images: NDArray[np.uint8], pid: NDArray[Any]) -> str:
    """Tells one training set from another. Not the features: a GPU gives them with other last digits each time."""
    digest = hashlib.sha256(np.ascontiguousarray(pid, dtype=np.int64).tobytes())
    for start in range(0, len(images), 256):
        digest.update(images[start : start + 256].tobytes())
    return digest.hexdigest()[:16]
