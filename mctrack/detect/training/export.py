"""The trained detector as an ONNX file of any batch and picture size, in the layout of YOLOv8 exports."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch

from mctrack.detect.engines import onnx_runtime
from mctrack.detect.training.network import Exported, PersonNet
from mctrack.errors import WeightsError

_TOLERANCE = 1e-3


def export(net: PersonNet, path: Path, input_size: int = 512) -> None:
    """Write the file, having checked it against torch at three shapes.

    Args:
        input_size: longer side that pictures are scaled to, unless the user says otherwise.

    Raises:
        WeightsError: the file answers other than the network does.
    """
    import onnx

    model = Exported(net).eval().cpu()
    part = path.with_suffix(".tmp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, 64, 64),), str(part), dynamo=False, opset_version=17,
            input_names=["images"], output_names=["boxes"],
            dynamic_axes={"images": {0: "n", 2: "height", 3: "width"}, "boxes": {0: "n", 2: "cells"}},
        )  # fmt: skip
    graph = onnx.load(str(part))
    for key, value in (("names", "{0: 'person'}"), ("stride", "32"), ("imgsz", str([input_size, input_size]))):
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(graph, str(part))
    _check(model, part)
    os.replace(part, path)


def _check(model: Exported, path: Path) -> None:
    session = onnx_runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 64, 64), (3, 3, 96, 160), (2, 3, 288, 512)):
        images = rng.random(shape, np.float32)
        with torch.no_grad():
            wanted = model(torch.from_numpy(images)).numpy()
        found = session.run(None, {"images": images})[0]
        worst = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1.0))
        if found.shape != wanted.shape or worst > _TOLERANCE:
            raise WeightsError(f"{path}: answers differ from the network's by {worst:.1e}")
