"""YOLO models in ultralytics' own format (.pt). ultralytics is under AGPL-3.0: so is what is built on it.

Only the network is taken from ultralytics. Its predictor is left out: it would set thread counts, print, look for
updates and install packages on its own. ``.pt`` files of ultralytics are whole pickles, which can run anything when
loaded; they are opened by its restricted loader (``torch.load(weights_only=True)`` with a list of known classes), or
not at all.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.config import DetectConfig
from mctrack.detect.classes import class_names
from mctrack.detect.decode import SUPPORTED, guess_family
from mctrack.detect.letterbox import PAD
from mctrack.detect.network import Size, check_input_size, detect_frames, rectangle
from mctrack.detect.onnx import make_layout
from mctrack.detect.torch_tools import first_line, import_extra, torch_device
from mctrack.errors import ConfigError, WeightsError
from mctrack.types import Detections, Frame, State
from mctrack.video.spec import CameraSpec

DEFAULT_MODEL = "yolo11n.pt"
_DEFAULT_SIZE = 640


class YoloDetector:
    """A YOLO model of ultralytics.

    Args:
        config: ``weights`` is a path, or the name of a model that ultralytics offers for download (default
            ``yolo11n.pt``), kept in ``~/.cache/mctrack``. ``input_size`` is the longer side of the input.
        cameras: not used; every camera is treated alike.
        device: ``auto``, ``cpu`` or ``cuda``.
        person_class: index or name of the class to keep; default: the one called person, or the first.
    """

    needs_images = True

    def __init__(
        self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *,
        person_class: int | str | None = None,
    ) -> None:
        self._config = config
        named = config.weights or DEFAULT_MODEL
        if Path(named).suffix.lower() == ".onnx":
            raise ConfigError(f"{named} is an ONNX export: use --detector onnx")
        self._torch = import_extra("torch", "yolo")
        self._device = torch_device(device, self._torch)
        with _undisturbed(self._torch):
            tasks = import_extra("ultralytics.nn.tasks", "yolo")
            path = _local_file(named)
            self._net, names, side = _load(path, tasks)
            self._net = self._net.to(self._device)
        self._stride = int(self._net.stride.max())
        check_input_size(config.input_size, self._stride)
        self._side = config.input_size or -(-side // self._stride) * self._stride
        output = self._probe(path)
        family = guess_family(output.shape, (self._side, self._side))
        if family not in ("yolov8", "end2end"):
            raise WeightsError(f"{path}: output {tuple(output.shape)}; {SUPPORTED}")
        self._layout = make_layout(family, output.shape, names, person_class, path.name)
        self.description = f"yolo: {path.name}, {self._side} px, {self._device} (ultralytics, AGPL-3.0)"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """All cameras' pictures in one batch (one for each shape of picture)."""
        return detect_frames(frames, self._config, self._layout, self._target, self._forward)

    def state(self) -> State:
        """No memory."""
        return {}

    def restore(self, state: State) -> None:
        """No memory."""

    def _target(self, size: Size) -> Size:
        return rectangle(size, self._side, self._stride)

    def _forward(self, batch: NDArray[np.float32]) -> NDArray[Any]:
        with self._torch.inference_mode():
            output = self._net(self._torch.from_numpy(batch).to(self._device))
        output = output[0] if isinstance(output, list | tuple) else output
        result: NDArray[Any] = output.float().cpu().numpy()
        return result

    def _probe(self, path: Path) -> NDArray[Any]:
        try:
            return self._forward(np.full((1, 3, self._side, self._side), PAD / 255, np.float32))
        except Exception as error:  # whatever a network that is no detector may raise
            raise WeightsError(f"{path}: is not a detection network ({first_line(error)})") from error


def _load(path: Path, tasks: Any) -> tuple[Any, dict[int, str], int]:
    """Network, class names and the input size it was trained with, without running anything from the file."""
    safe = getattr(tasks, "_SafeLoad", None)
    if not getattr(safe, "SUPPORTED", False) or "safe_only" not in inspect.signature(tasks.torch_safe_load).parameters:
        raise ConfigError(f"{path}: this ultralytics or torch cannot load a .pt without running code from it; "
                          "pip install -U ultralytics 'torch>=2.6', or export the model to ONNX")
    try:
        found, _ = tasks.torch_safe_load(str(path), safe_only=True)
        net = found.get("ema") or found.get("model")
        trained = found.get("train_args") or {}
        names = class_names(getattr(net, "names", None))
        net = net.float().eval()
        with contextlib.suppress(AttributeError):
            net = net.fuse(verbose=False)
    except Exception as error:  # pickle, zip and attribute errors of every kind
        raise WeightsError(f"{path}: no ultralytics model that can be loaded safely ({first_line(error)}); "
                           "for other formats export it to ONNX") from error
    side = trained.get("imgsz", _DEFAULT_SIZE) if isinstance(trained, dict) else _DEFAULT_SIZE
    return net, names, side if isinstance(side, int) and side > 0 else _DEFAULT_SIZE


def _local_file(named: str) -> Path:
    """The weights on this disk, downloaded by ultralytics if it is one of its models.

    Raises:
        WeightsError: there is no such file and no such model, or it cannot be downloaded.
    """
    path = Path(named).expanduser()
    if path.is_file():
        return path
    downloads = import_extra("ultralytics.utils.downloads", "yolo")
    if path.name != named or named not in downloads.GITHUB_ASSETS_NAMES:
        raise WeightsError(f"{named}: no such file, nor a model that ultralytics offers (such as {DEFAULT_MODEL})")
    kept = Path.home() / ".cache" / "mctrack" / named
    if not kept.is_file():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            downloads.attempt_download_asset(str(kept), retry=0, progress=False)
        except Exception as error:  # no network, no disk
            raise WeightsError(f"{named} cannot be downloaded ({first_line(error)}); fetch it elsewhere and give "
                               "--weights FILE, or use --detector embedded") from error
        if not kept.is_file():
            raise WeightsError(f"{named} cannot be downloaded; fetch it elsewhere and give --weights FILE")
    return kept


@contextlib.contextmanager
def _undisturbed(torch: Any) -> Iterator[None]:
    """Import and use ultralytics without its traces: threads, environment, print options, patches, banners."""
    import cv2

    environment = dict(os.environ)
    threads, cv2_threads, printing = torch.get_num_threads(), cv2.getNumThreads(), np.get_printoptions()
    level = logging.getLogger("ultralytics").level
    patched = [(torch, "save"), (torch, "load"), (cv2, "imread"), (cv2, "imwrite"), (cv2, "imshow"),
               (import_extra("PIL.Image", "yolo"), "open")]
    functions = [getattr(module, name) for module, name in patched]
    # offline: no report home and no look for updates at import (a download still works); no installing on its own;
    # settings of its own go into the cache instead of the user's configuration
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(Path.home() / ".cache" / "mctrack"))
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    try:
        quiet = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
        np.set_printoptions(**printing)
        torch.set_printoptions(profile="default")
        for (module, name), function in zip(patched, functions, strict=True):
            setattr(module, name, function)
        logging.getLogger("ultralytics").setLevel(level)
