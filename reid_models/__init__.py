"""Person re-identification embedders, usable on their own: ``load(name_or_path).embed(crops)``."""

from __future__ import annotations

from reid_models.calibration import Calibration
from reid_models.embedder import EMBEDDERS, Embedder, load
from reid_models.errors import ReidError

__all__ = ["EMBEDDERS", "Calibration", "Embedder", "ReidError", "load"]
