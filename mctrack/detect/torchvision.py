"""Faster R-CNN from torchvision: BSD licence for code and weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.config import DetectConfig
from mctrack.detect.postprocess import finish, with_pictures
from mctrack.detect.torch_tools import first_line, import_extra, load_state_dict, torch_device
from mctrack.errors import ConfigError, WeightsError, suggest
from mctrack.types import Detections, Frame, State
from mctrack.video.spec import CameraSpec

MODELS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
)
_PREDICTOR = "roi_heads.box_predictor.cls_score.weight"


class TorchvisionDetector:
    """A Faster R-CNN of torchvision.

    Args:
        config: ``weights`` is a state dict (safetensors or .pth); without it torchvision downloads its own (COCO).
            ``input_size`` is the shorter side of the input.
        cameras: not used; every camera is treated alike.
        device: ``auto``, ``cpu`` or ``cuda``.
        model: one of :data:`MODELS`.
        person_class: label of a person; 1 in COCO, and in nets with background and person only.
    """

    needs_images = True

    def __init__(
        self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *, model: str = MODELS[0],
        person_class: int = 1,
    ) -> None:
        if model not in MODELS:
            raise ConfigError(f"detect.options.model: '{model}'{suggest(model, MODELS)}; one of {', '.join(MODELS)}")
        self._torch = import_extra("torch", "torchvision")
        zoo = import_extra("torchvision.models", "torchvision")
        self._config, self._person = config, person_class
        self._device = torch_device(device, self._torch)
        source, weights = self._weights(zoo, model)
        classes = len(weights[_PREDICTOR]) if _PREDICTOR in weights else 0
        if not 1 <= person_class < max(classes, 2):
            raise ConfigError(f"detect.options.person_class is {person_class}: {source} has the labels 1…{classes - 1}")
        self._net = self._build(zoo, model, classes, weights, source)
        self.description = f"torchvision: {model}, {source}, {self._device} (BSD licence)"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """All cameras' pictures in one batch; the network brings them to one size itself."""
        result = [Detections.empty() for _ in frames]
        index, images = with_pictures(frames)
        if not images:
            return result
        torch = self._torch
        batch = [torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))) for image in images]
        with torch.inference_mode():
            found = self._net([b.to(self._device).float() / 255 for b in batch])
        for i, boxes in zip(index, found, strict=True):
            people = boxes["labels"] == self._person
            xyxy, score = boxes["boxes"][people].cpu().numpy(), boxes["scores"][people].cpu().numpy()
            result[i] = finish(xyxy, score, frames[i].size, self._config)
        return result

    def state(self) -> State:
        """No memory."""
        return {}

    def restore(self, state: State) -> None:
        """No memory."""

    def _weights(self, zoo: Any, model: str) -> tuple[str, dict[str, Any]]:
        if self._config.weights:
            path = Path(self._config.weights).expanduser()
            return path.name, load_state_dict(path, self._torch)
        best = zoo.get_model_weights(model).DEFAULT
        try:
            weights = self._torch.hub.load_state_dict_from_url(
                best.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        except Exception as error:  # no network, no disk, wrong hash
            raise WeightsError(f"{best.url} cannot be downloaded ({first_line(error)}); fetch it elsewhere and give "
                               "--weights FILE") from error
        return str(best), dict(weights)

    def _build(self, zoo: Any, model: str, classes: int, weights: dict[str, Any], source: str) -> Any:
        size = {} if self._config.input_size is None else {"min_size": self._config.input_size}
        net = zoo.get_model(
            model, weights=None, weights_backbone=None, num_classes=max(classes, 2),
            box_score_thresh=self._config.score, box_nms_thresh=self._config.nms_iou,
            box_detections_per_img=self._config.max_detections, **size,
        )
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise WeightsError(f"{source}: these weights are not of {model}; "
                               "choose theirs with --set detect.options.model=NAME") from error
        return net.eval().to(self._device)
