"""People from motion alone: no weights, no download. For cameras that stand still."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mctrack.config import DetectConfig
from mctrack.detect.background import WEAK, Background, Foreground, Mask, as_mask
from mctrack.detect.blobs import Blob, clean, find_blobs
from mctrack.detect.ghosts import find_ghosts
from mctrack.detect.heights import HeightModel
from mctrack.detect.people import ASPECT, Person, people_in
from mctrack.detect.postprocess import finish
from mctrack.errors import ConfigError
from mctrack.types import Detections, Frame, Image, State
from mctrack.video.spec import CameraSpec

_GAP_S = 2.0
_GHOST_S = 0.6
_SMALLEST = 16
_WORK_SIZE = 480


class BackgroundDetector:
    """Background subtraction, and a model of how tall people are where.

    Args:
        config: ``input_size`` is the longer side of the pictures that it works on, default 480.
        cameras: not used; a camera is set up when its first picture comes.
        device: not used.
        hold_s: how long somebody may stand still before becoming part of the scene.
        scene_hold_s: the same for what does not look like a person (a parked car, a moved chair).
    """

    needs_images = True
    description = "background: subtraction; for cameras that stand still, finds people once they have moved"

    def __init__(
        self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *, hold_s: float = 240.0,
        scene_hold_s: float = 20.0,
    ) -> None:
        if config.weights:
            raise ConfigError(f"detector 'background' takes no weights, but --weights names {config.weights}")
        if config.input_size is not None and config.input_size < _SMALLEST:
            raise ConfigError(f"detect.input_size is {config.input_size}, expected at least {_SMALLEST}")
        for name, value in (("hold_s", hold_s), ("scene_hold_s", scene_hold_s)):
            if not value > 0:
                raise ConfigError(f"detect.options.{name} is {value}, expected more than 0 seconds")
        self._config = config
        self._hold_s = (hold_s, scene_hold_s)
        self._views: dict[str, CameraView] = {}

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Each camera's picture against its own background."""
        return [
            Detections.empty() if f.image is None or min(f.size) < _SMALLEST else self._detect(f, f.image)
            for f in frames
        ]

    def _detect(self, frame: Frame, image: Image) -> Detections:
        view = self._views.get(frame.camera)
        if view is None or view.size != frame.size:
            view = CameraView(frame.size, self._config.input_size or _WORK_SIZE)
            self._views[frame.camera] = view
        people = view.people(image, frame.time_s, self._config.min_height_px, self._hold_s)
        xyxy = np.array([p.xyxy for p in people]).reshape(-1, 4) * view.pixel
        return finish(xyxy, [p.score for p in people], frame.size, self._config)

    def state(self) -> State:
        """Backgrounds and height models of all cameras."""
        return {"views": {name: view.state() for name, view in self._views.items()}}

    def restore(self, state: State) -> None:
        """Go on as if never stopped."""
        self._views = {name: CameraView.restored(view) for name, view in state.get("views", {}).items()}


class CameraView:
    """What is known about one camera.

    Args:
        size: (width, height) of its pictures.
        work_size: pictures whose longer side is longer than this are made smaller first.
    """

    def __init__(self, size: tuple[int, int], work_size: int) -> None:
        self.size, self.work_size = size, work_size
        # whole factors only: averaging over whole blocks is many times faster than over parts of pixels
        self.pixel = max(-(-max(size) // work_size), 1)
        self._work = (max(size[0] // self.pixel, 1), max(size[1] // self.pixel, 1))
        self._background = Background((self._work[1], self._work[0]))
        self._heights = HeightModel(self._work[1])
        self._time_s = float("nan")

    def people(self, image: Image, time_s: float, min_height_px: float, hold_s: tuple[float, float]) -> list[Person]:
        """Candidates in working pixels."""
        # a break in the recording is no time for the scene to change at leisure
        dt_s = 0.04 if np.isnan(self._time_s) else min(max(time_s - self._time_s, 0.0), _GAP_S)
        self._time_s = time_s
        if self.pixel > 1:
            image = image[: self._work[1] * self.pixel, : self._work[0] * self.pixel]
            image = np.asarray(cv2.resize(image, self._work, interpolation=cv2.INTER_AREA), np.uint8)
        fg = self._background.compare(image, dt_s)
        mask = clean(fg)
        blobs = find_blobs(mask, fg, self._heights, min_height_px / self.pixel)
        shape = (self._work[1], self._work[0])
        found: list[Person] = []
        standing = np.zeros(shape, np.uint8)
        for blob in blobs:
            people = people_in(blob, self._heights, shape)
            found += people
            self._study(blob, shape)
            if any(p.score >= 0.4 for p in people):
                standing[blob.top : blob.bottom, blob.left : blob.right] = 1
        standing = as_mask(cv2.dilate(standing, np.ones((5, 5), np.uint8)))
        busy = as_mask(cv2.dilate(mask, np.ones((5, 5), np.uint8)))
        self._cover_shade(busy, fg, found)
        if self._background.learn(busy, standing, hold_s, dt_s):
            ghosts = find_ghosts(mask, self._background.still(_GHOST_S), fg.luma, self._background.luma)
            if ghosts is not None:
                self._background.absorb(ghosts)
        return found

    def _cover_shade(self, busy: Mask, fg: Foreground, people: list[Person]) -> None:
        """Inside people's boxes count what passed for shadow as well: a grey coat before a white wall looks so."""
        for person in people:
            x0, y0, x1, y1 = (max(int(v), 0) for v in person.xyxy)
            busy[y0:y1, x0:x1] |= fg.contrast[y0:y1, x0:x1] > WEAK

    def _study(self, blob: Blob, shape: tuple[int, int]) -> None:
        """Learn from what looks like one person, seen whole.

        Whatever the heights learned so far say: a model that only learns from what it expects never finds out that
        it is wrong.
        """
        if blob.moving < 0.1:
            return
        inside = blob.left > 1 and blob.top > 1 and blob.right < shape[1] - 1 and blob.bottom < shape[0] - 1
        aspect, fill = blob.width / blob.height, blob.area / (blob.width * blob.height)
        if inside and 0.6 * ASPECT < aspect < 1.5 * ASPECT and 0.4 < fill < 0.9 and blob.height >= 12:
            self._heights.add(blob.bottom, blob.height)

    def state(self) -> State:
        """Everything that the next pictures depend on."""
        return {"size": list(self.size), "work_size": self.work_size, "time_s": self._time_s,
                "background": self._background.state(), "heights": self._heights.state()}

    @staticmethod
    def restored(state: State) -> CameraView:
        """A view that goes on from a saved state."""
        self = CameraView((int(state["size"][0]), int(state["size"][1])), int(state["work_size"]))
        self._background = Background.restored(state["background"])
        self._heights = HeightModel.restored(state["heights"])
        self._time_s = float(state["time_s"])
        return self

