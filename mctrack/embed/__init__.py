"""Describing how people look: crops, their quality, and embeddings for the detections of all cameras at once."""

from __future__ import annotations

from mctrack.embed.crops import crop_quality, cut_crops, quality
from mctrack.embed.frames import FrameEmbedder, load_embedder

__all__ = ["FrameEmbedder", "crop_quality", "cut_crops", "load_embedder", "quality"]
