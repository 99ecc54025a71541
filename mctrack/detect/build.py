"""From a configuration to a detector."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from mctrack.config import DetectConfig
from mctrack.detect import DETECTORS, Detector
from mctrack.errors import ConfigError, suggest
from mctrack.registry import resolve
from mctrack.video.spec import CameraSpec

DEVICES = ("auto", "cpu", "cuda")
SUFFIXES = {".onnx": "onnx", ".pt": "yolo", ".pth": "torchvision", ".safetensors": "torchvision", ".txt": "file"}
"""The detector that goes with a weights file when only the file was named."""


def build_detector(config: DetectConfig, cameras: Sequence[CameraSpec], device: str) -> Detector:
    """Build the detector that a configuration names.

    Args:
        config: ``name`` is a key of :data:`DETECTORS`, ``module:Class``, or a path to weights such as ``yolox.onnx``.
        cameras: all cameras of the run.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: unknown name, device or option, an option of the wrong type, or a class that makes no detector.
        WeightsError: the weights cannot be used.
    """
    if device not in DEVICES:
        raise ConfigError(f"device '{device}'{suggest(device, DEVICES)}; one of {', '.join(DEVICES)}")
    by_suffix = SUFFIXES.get(Path(config.name).suffix.lower()) if config.name not in DETECTORS else None
    if by_suffix:
        if config.weights and config.weights != config.name:
            raise ConfigError(f"detector '{config.name}' is a weights file, but --weights names {config.weights}")
        config = replace(config, name=by_suffix, weights=config.name)
    factory = resolve("detector", config.name, DETECTORS)
    check_options(config.name, factory, config.options)
    detector: Detector = factory(config, cameras, device, **config.options)
    if not hasattr(detector, "detect"):
        raise ConfigError(f"detector '{config.name}' makes something that has no 'detect'")
    return detector


def check_options(name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a detector does not have, values of another type than it says, and what cannot be called.

    Raises:
        ConfigError: naming the option, and the nearest one that exists; or what the detector cannot be made from.
    """
    try:
        signature = _signature(factory)
        parameters = signature.parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            _check_each(name, parameters, options)
        signature.bind(None, (), "cpu", **options)
    except (TypeError, ValueError) as error:  # nothing to call, or nothing that tells how
        raise ConfigError(f"detector '{name}' cannot be made from {factory!r}, called with a configuration, cameras "
                          f"and a device: {error}") from error


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(factory, eval_str=True)
    except NameError:  # a third party's annotations need not resolve
        return inspect.signature(factory)


def _check_each(name: str, parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    known = list(parameters)[3:]
    for key, value in options.items():
        if key not in known:
            listing = f"it has {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"detector '{name}' has no option '{key}'{suggest(str(key), known)}; {listing}")
        wanted = _plain_types(parameters[key].annotation)
        # True is an int to Python, but hardly to the one who wrote it
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            names = " or ".join("nothing" if t is type(None) else t.__name__ for t in wanted)
            raise ConfigError(f"detect.options.{key}: {value!r} is not {names}")


def _plain_types(annotation: Any) -> tuple[type, ...]:
    """The types a plain annotation allows; () where it is anything but int, float, str, bool or None."""
    parts = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    parts = tuple(type(None) if p is None else p for p in parts)
    if not all(p in (int, float, str, bool, type(None)) for p in parts):
        return ()
    return (*parts, int) if float in parts and int not in parts else parts
