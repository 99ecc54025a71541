"""From trained weights to an ONNX file that says itself how to use it.

The graph takes ``images`` (n, 3, height, width), any n, normalised as in training, and gives ``embeddings`` (n, dim).
Its metadata hold what :mod:`reid_models.onnx` reads: the size of the input and the card of the weights with their
calibration. Nothing is put in place before ONNX Runtime has given the same answers as torch.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reid_models import eight_bits
from reid_models.atomic import write_atomic
from reid_models.card import BESIDE_KEY, ONNX_KEY, describe, first_line
from reid_models.crops import check_crops
from reid_models.deploy import deployable
from reid_models.eight_bits import Stored
from reid_models.errors import ReidError

Crops = Sequence[NDArray[np.uint8]]
BATCHES = (1, 7, 64)
TOLERANCES = {32: 1e-4, 16: 2e-3, 8: 5e-2}
"""Bits of a weight → largest difference between any two numbers of a unit row, torch against ONNX Runtime."""
_FEWEST_CROPS = 32
_CHUNK = 16


@dataclass(frozen=True)
class Int8Loss:
    """What an 8-bit network loses, measured on crops that it was not calibrated with.

    Attributes:
        crops: how many.
        mean_cosine, worst_cosine: between the descriptors of the 8-bit and of the full network.
        neighbours_kept: share of the crops whose nearest other crop is still the same.
    """

    crops: int
    mean_cosine: float
    worst_cosine: float
    neighbours_kept: float

    def __str__(self) -> str:
        return (f"on {self.crops} crops: cosine to the full network {self.mean_cosine:.4f} on average, "
                f"{self.worst_cosine:.4f} at worst; same nearest neighbour for {self.neighbours_kept:.1%}")


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: the file.
        max_difference: largest difference to torch at batches of 1, 7 and 64; with ``int8`` the full network's.
        int8: what the 8-bit version loses, or None where there is none.
    """

    path: Path
    max_difference: float
    int8: Int8Loss | None = None


def export_onnx(model_or_weights: nn.Module | str | Path, out: str | Path, *, int8: bool = False, bits: int = 32,
                graph_only: bool = False, calibration_crops: Crops | None = None,
                card: Mapping[str, Any] | None = None) -> ExportReport:
    """Write a model as an ONNX file with a dynamic batch.

    Args:
        model_or_weights: a model, or a file of :func:`reid_models.weights.save_weights`.
        out: a name that ends in ``.onnx``; a file of that name is replaced in one step.
        int8: 8-bit weights and activations.
        bits: 16 or 8: weights are kept as such numbers, a half or a quarter of the file (8 bits as in
            :mod:`reid_models.eight_bits`), and computed with in 32 bits as before.
        graph_only: the 8-bit weights stay in the given file, which must lie in the same folder, and hold 8-bit weights
            (:func:`reid_models.weights.shrink_weights`).
        calibration_crops: (h, w, 3) uint8 BGR crops of any size, for ``int8``: every second one shows the range of
            the activations, the others measure what is lost.
        card: of the weights, where a model is given.

    Raises:
        ReidError: weights that cannot be loaded, too few crops, or an export that does not answer as torch does.
    """
    out = Path(out)
    if out.suffix.lower() != ".onnx":
        raise ReidError(f"{out}: expected a name that ends in .onnx")
    if bits not in TOLERANCES:
        raise ReidError(f"weights are kept at {', '.join(map(str, TOLERANCES))} bits, not {bits}")
    source = None if isinstance(model_or_weights, nn.Module) else Path(model_or_weights)
    if graph_only and (bits != 8 or source is None or source.resolve().parent != out.resolve().parent):
        raise ReidError(f"{out}: leaving the weights where they are takes a file of 8-bit weights in the same folder")
    crops = _checked_crops(calibration_crops) if int8 else ()
    model, found = _model_of(model_or_weights)
    card = found if found is not None else card
    network, difference = onnx_bytes(model, card, name=out.stem)
    loss = None
    if int8:
        network, loss = quantise(network, crops)
    elif bits != 32:
        network = halve(network) if bits == 16 else quarter(network, source, graph_only)
        difference = _within(TOLERANCES[bits], _compare(model, network, BATCHES, out.parent), out.stem)
    write_atomic(out, network)
    return ExportReport(out, difference, loss)


def onnx_bytes(model: nn.Module, card: Mapping[str, Any] | None = None, name: str = "",
               batches: Sequence[int] = BATCHES) -> tuple[bytes, float]:
    """The ONNX file's content, and its largest difference to torch at these batches.

    Raises:
        ReidError: it cannot be exported, or differs by more than :data:`TOLERANCES` allow.
    """
    training = model.training
    model.eval()
    try:
        network = _traced(model)
        difference = _compare(model, network, batches)
    finally:
        model.train(training)
    return network + _metadata(model, card, name), _within(TOLERANCES[32], difference, name or str(model.name))


def _within(tolerance: float, difference: float, name: str) -> float:
    if not difference <= tolerance:  # also where it is not a number
        raise ReidError(f"{name}: the exported network differs from torch's by {difference:.2g}, more than "
                        f"{tolerance:g}; not written")
    return difference


def halve(network: bytes) -> bytes:
    """The same network with every constant matrix and kernel as 16-bit numbers, each behind a cast to 32 bits.

    ONNX Runtime works such casts out once, when it loads the file.

    Raises:
        ReidError: the package onnx is missing, or a weight is beyond what 16 bits hold.
    """
    onnx = _onnx()
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_model_from_string(network)
    casts = []
    for kept in model.graph.initializer:
        if kept.data_type != TensorProto.FLOAT or len(kept.dims) < 2:
            continue
        name, values = kept.name, numpy_helper.to_array(kept)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise ReidError(f"{name} holds a number beyond 65,504, which 16 bits cannot; not written")
        kept.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [kept.name], [name], to=TensorProto.FLOAT))
    return _with_nodes(model, casts)


def quarter(network: bytes, weights: Path | None = None, graph_only: bool = False) -> bytes:
    """The same network with its large matrices and kernels as 8-bit numbers, each behind a cast and its scales.

    Args:
        network: an exported one.
        weights: the file that it is of. Where that holds 8-bit numbers, the very same ones are used.
        graph_only: leave them there.

    Raises:
        ReidError: the package onnx is missing, or a file cannot be read.
    """
    onnx = _onnx()
    from onnx import TensorProto, helper, numpy_helper

    stored = {} if weights is None else eight_bits.stored_numbers(weights)
    if graph_only and not stored:
        raise ReidError(f"{weights}: holds no 8-bit weights that could stay there; make such a file first (--quarter)")
    model = onnx.load_model_from_string(network)
    steps, scales = [], []
    for kept in model.graph.initializer:
        if kept.data_type != TensorProto.FLOAT or len(kept.dims) < 2 or math.prod(kept.dims) < eight_bits.FEWEST:
            continue
        name, values = kept.name, numpy_helper.to_array(kept)
        found = _same_numbers(values, stored)
        numbers, scale = eight_bits.rounded(values) if found is None else (found[0].values, found[1])
        kept.CopyFrom(numpy_helper.from_array(numbers, f"{name}.numbers"))
        if graph_only and found is not None and weights is not None:
            kept.ClearField("raw_data")
            kept.data_location = TensorProto.EXTERNAL
            where = {"location": weights.name, "offset": found[0].offset, "length": numbers.size}
            kept.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in where.items())
        scales.append(numpy_helper.from_array(scale.reshape(-1, *(1,) * (values.ndim - 1)), f"{name}.scale"))
        steps += [helper.make_node("Cast", [kept.name], [f"{name}.whole"], to=TensorProto.FLOAT),
                  helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name])]
    model.graph.initializer.extend(scales)
    if graph_only and weights is not None:
        entry = {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
        model.metadata_props.add(key=BESIDE_KEY, value=json.dumps(entry))
    return _with_nodes(model, steps)


def _same_numbers(values: NDArray[Any], stored: Mapping[str, Stored]) -> tuple[Stored, NDArray[np.float32]] | None:
    """The 8-bit numbers that weights of an exported network come from, and the scales that they have there."""
    for found in stored.values():
        if found.values.shape == values.shape:
            scale = eight_bits.rescaled(values, found.values)
            if scale is not None:
                return found, scale
    return None


def _with_nodes(model: Any, first: list[Any]) -> bytes:
    nodes = [*first, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ReidError(f"16-bit and 8-bit weights need the package onnx, which cannot be imported ({error}); "
                        "pip install onnx") from error
    return onnx


def quantise(network: bytes, crops: Crops) -> tuple[bytes, Int8Loss]:
    """An 8-bit version of an exported network, with its metadata, and what it loses.

    Convolutions and linear layers, and what lies between them, are quantised: weights by channel, activations by
    tensor (Jacob et al. 2018); the normalisation at the end is not.

    Raises:
        ReidError: the tools for it are missing or fail.
    """
    from reid_models.onnx import OnnxEmbedder

    try:
        import onnx  # noqa: F401
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise ReidError(f"8-bit networks need the package onnx, which cannot be imported ({error}); pip install onnx"
                        ) from error
    full = OnnxEmbedder("network.onnx", "cpu", network=network)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "full.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(network)
        try:
            with _quiet():
                quantize_static(
                    str(source), str(target), _Reader(full, crops[::2]), quant_format=QuantFormat.QDQ, per_channel=True,
                    # 7 bits: without VNNI, products of 8-bit numbers overflow the 16 bits that pairs are summed in.
                    reduce_range=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
                    calibrate_method=CalibrationMethod.MinMax,
                    op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "Concat"])
        except Exception as error:  # the tool has no common class for what can go wrong
            raise ReidError(f"8-bit version cannot be made: {first_line(error)}") from error
        small = target.read_bytes()
    return small, _loss(full, OnnxEmbedder("int8.onnx", "cpu", network=small), crops[1::2])


class _Reader:
    """Gives crops to the calibration, a few at a time."""

    def __init__(self, embedder: Any, crops: Crops) -> None:
        self._name = embedder.input_name
        self._batches = (embedder.prepare(crops[i : i + _CHUNK]) for i in range(0, len(crops), _CHUNK))

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch, or None."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def _loss(full: Any, small: Any, crops: Crops) -> Int8Loss:
    before, after = full.embed(crops), small.embed(crops)
    cosine = (before * after).sum(axis=1)
    near = []
    for rows in (before, after):
        likeness = rows @ rows.T
        np.fill_diagonal(likeness, -2)
        near.append(likeness.argmax(axis=1))
    return Int8Loss(len(crops), float(cosine.mean()), float(cosine.min()), float((near[0] == near[1]).mean()))


def _checked_crops(crops: Crops | None) -> Crops:
    if crops is None or len(crops) < _FEWEST_CROPS:
        raise ReidError(f"8-bit networks need at least {_FEWEST_CROPS} crops to calibrate and measure with, "
                        f"got {0 if crops is None else len(crops)}")
    check_crops(crops)
    return crops


def _model_of(given: nn.Module | str | Path) -> tuple[nn.Module, dict[str, Any] | None]:
    if isinstance(given, nn.Module):
        return given, None
    from reid_models.weights import load_weights

    return load_weights(given)


def _traced(model: nn.Module) -> bytes:
    """The graph. The tracing exporter where torch still has it: it needs no further package."""
    device = next(model.parameters()).device
    example = torch.zeros(2, 3, *model.input_hw, device=device)  # type: ignore[misc]
    # Unless told otherwise, newer versions take the other exporter, which needs the package onnxscript.
    legacy: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    buffer = io.BytesIO()
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                deployable(model), (example,), buffer, input_names=["images"], output_names=["embeddings"],  # type: ignore[arg-type]
                dynamic_axes={"images": {0: "n"}, "embeddings": {0: "n"}}, opset_version=17, **legacy)
    except Exception as error:  # torch has no common class for what can go wrong
        raise ReidError(f"{model.name}: cannot be exported to ONNX: {first_line(error)}") from error
    return buffer.getvalue()


def _compare(model: nn.Module, network: bytes, batches: Sequence[int], folder: Path | None = None) -> float:
    """Largest difference to torch; ``folder``: where weights lie that the network has outside."""
    from reid_models.onnx import onnx_runtime

    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder.resolve()))
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    generator, device = torch.Generator().manual_seed(0), next(model.parameters()).device
    worst = 0.0
    for n in batches:
        images = torch.randn(n, 3, *model.input_hw, generator=generator)  # type: ignore[misc]
        theirs = session.run(None, {"images": images.numpy()})[0]
        with torch.inference_mode():
            parts = [model.descriptor_only(part.to(device)).float().cpu() for part in images.split(_CHUNK)]  # type: ignore[operator]
        ours = torch.cat(parts).numpy()
        if theirs.shape != ours.shape:
            raise ReidError(f"{model.name}: exported, {n} pictures give {theirs.shape}, but torch gives {ours.shape}")
        worst = float(np.maximum(worst, np.abs(theirs - ours).max(initial=0)))  # unlike max(), keeps a NaN
    return worst


def _metadata(model: nn.Module, card: Mapping[str, Any] | None, name: str) -> bytes:
    height, width = model.input_hw  # type: ignore[misc]
    options = {"height": int(height), "width": int(width), "resize": "area", "name": name or str(model.name)}
    options["description"] = describe(card) if card else f"{model.name}, training unknown"
    entries = _entry("reid_models", json.dumps(options))
    return entries + _entry(ONNX_KEY, json.dumps(card)) if card else entries


def _entry(key: str, value: str) -> bytes:
    """One more entry of ModelProto.metadata_props (field 14), to be put behind the file's content.

    Protocol Buffers read a message's fields in any order, and a repeated field wherever its parts stand, so that
    the file need not be parsed (which would take the package onnx).
    """
    pair = _field(1, key.encode()) + _field(2, value.encode())
    return _field(14, pair)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on their own future; what counts is compared afterwards."""
    level = logging.root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.root.setLevel(logging.ERROR)  # the 8-bit tools advise through the root logger
        try:
            yield
        finally:
            logging.root.setLevel(level)
