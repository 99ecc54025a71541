"""From frames and detections to embeddings: the crops of all cameras in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mctrack.config import ReidConfig
from mctrack.embed.crops import cut_crops
from mctrack.errors import ConfigError, WeightsError
from mctrack.types import Detections, Frame
from reid_models import Embedder, ReidError, load


def load_embedder(config: ReidConfig, device: str = "auto") -> Embedder:
    """The embedder that a configuration names.

    Raises:
        ConfigError: there is no such embedder.
        WeightsError: its weights cannot be loaded.
    """
    try:
        return load(config.name, device)
    except ReidError as error:
        kind = WeightsError if config.name.lower().endswith((".onnx", ".safetensors")) else ConfigError
        raise kind(f"reid: {error}") from error


class FrameEmbedder:
    """Gives detections their embeddings."""

    def __init__(self, embedder: Embedder, config: ReidConfig) -> None:
        """Use ``embedder`` for the crops that ``config`` finds large and sure enough."""
        self.embedder = embedder
        self.config = config

    def embed(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> list[Detections]:
        """Return the detections with ``embedding`` (n, dim) filled in; nothing else changes.

        Args:
            frames: of different cameras.
            detections: those of each frame.

        Returns:
            One per frame. A row of zeros stands for a detection without a description: too small, not sure
            enough, outside the picture, or in a frame without a picture.
        """
        crops, places = [], []
        for f, (frame, found) in enumerate(zip(frames, detections, strict=True)):
            if frame.image is None or not len(found):
                continue
            for row in np.flatnonzero(found.score >= self.config.min_score):
                (crop,) = cut_crops(frame.image, found.xyxy[row])
                if crop.size and crop.shape[0] >= self.config.min_height_px:
                    crops.append(crop)
                    places.append((f, row))
        described = self.embedder.embed(crops)
        tables = [np.zeros((len(found), self.embedder.dim), np.float32) for found in detections]
        for (f, row), vector in zip(places, described, strict=True):
            tables[f][row] = vector
        return [replace(found, embedding=table) for found, table in zip(detections, tables, strict=True)]
