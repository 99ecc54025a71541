"""What a user may write after ``--cams``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CameraSpec:
    """One camera.

    Attributes:
        name: unique, usable as a file name.
        uri: path or URL, with its password: never shown as it is (``video.cameras.shown_uri``).
        kind: ``file``, ``folder``, ``sequence`` (MOTChallenge folder with seqinfo.ini), ``stream`` or ``webcam``.
    """

    name: str
    uri: str
    kind: str

    @property
    def live(self) -> bool:
        """Whether frames are lost unless read in time."""
        return self.kind in ("stream", "webcam")
