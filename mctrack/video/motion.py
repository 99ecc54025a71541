"""How a moving camera moved between two frames, from sparse optical flow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctrack.types import FloatArray, Frame, Image, State

_IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class CameraMotion:
    """Similarity (shift, turn, zoom) between consecutive frames of one camera.

    Corners of the previous picture (Shi and Tomasi 1994) are followed by pyramidal Lucas-Kanade; those that do not
    come back to where they started when followed backwards are dropped, and a similarity is fitted to the rest by
    RANSAC. OpenCV's RANSAC draws from a generator of its own with a fixed seed, so the result is reproducible and
    the global one is left alone.

    Args:
        width_px: pictures are scaled down to this width first.
        max_corners: corners followed per frame.
        min_points: with fewer followed corners, or fewer that agree, nothing is claimed: identity.
    """

    def __init__(self, width_px: int = 480, max_corners: int = 400, min_points: int = 12) -> None:
        self._width_px = width_px
        self._max_corners = max_corners
        self._min_points = min_points
        self._previous: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self._people: FloatArray = np.zeros((0, 4))

    def estimate(self, frame: Frame, exclude_xyxy: FloatArray | None) -> FloatArray:
        """The (2, 3) affine matrix that maps the previous frame's pixels to this frame's.

        A frame without picture gives the identity; the next picture is then compared with the last one there was, so
        that the product over all frames stays right.

        Args:
            frame: the next frame of the camera.
            exclude_xyxy: (n, 4) boxes of people in this frame: they move on their own.
        """
        if frame.image is None:
            return _IDENTITY.copy()
        grey, scale = self._shrink(frame.image)
        people = np.zeros((0, 4)) if exclude_xyxy is None else np.asarray(exclude_xyxy, float).reshape(-1, 4) * scale
        previous, before = self._previous, self._people
        self._previous, self._people = grey, people
        if previous.shape != grey.shape:
            return _IDENTITY.copy()
        matrix = self._fit(*self._follow(previous, before, grey, people))
        matrix[:, 2] /= scale
        return matrix

    def _shrink(self, image: Image) -> tuple[NDArray[np.uint8], float]:
        import cv2

        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        scale = min(self._width_px / grey.shape[1], 1.0)
        if scale < 1:
            size = (self._width_px, max(round(grey.shape[0] * scale), 1))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return np.asarray(grey, np.uint8), scale

    def _follow(self, previous: NDArray[np.uint8], before: FloatArray, grey: NDArray[np.uint8],
                people: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(k, 2) points in the previous picture and where they are now."""
        import cv2

        none = np.zeros((0, 2))
        corners = cv2.goodFeaturesToTrack(previous, self._max_corners, 0.01, 7, mask=_mask(previous.shape, before))
        if corners is None or len(corners) < self._min_points:
            return none, none
        start = np.asarray(corners, np.float32).reshape(-1, 1, 2)
        follow: Any = cv2.calcOpticalFlowPyrLK  # its stub of OpenCV 4 does not allow None
        end, found, _ = follow(previous, grey, start, None)
        back, returned, _ = follow(grey, previous, end, None)
        error_px = np.linalg.norm(back - start, axis=2)[:, 0]
        good = (found[:, 0] > 0) & (returned[:, 0] > 0) & (error_px < 0.7)
        a, b = start[good, 0].astype(float), end[good, 0].astype(float)
        inside = (b >= 0).all(1) & (b <= np.array(grey.shape[::-1]) - 1).all(1)
        a, b = a[inside], b[inside]
        free = _mask(grey.shape, people)[b[:, 1].astype(int), b[:, 0].astype(int)] > 0
        return a[free], b[free]

    def _fit(self, start: FloatArray, end: FloatArray) -> FloatArray:
        import cv2

        if len(start) < self._min_points:
            return _IDENTITY.copy()
        matrix, inliers = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=1.5)
        if matrix is None or not np.isfinite(matrix).all():
            return _IDENTITY.copy()
        agreeing = int(np.asarray(inliers).sum())
        zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        # A minority that agrees is something moving in the scene, and no camera zooms by half between frames.
        if agreeing < max(self._min_points, 0.4 * len(start)) or not 0.67 < zoom < 1.5:
            return _IDENTITY.copy()
        return np.asarray(matrix, float)

    def state(self) -> State:
        """The previous picture, small and grey, and where people were in it."""
        return {"previous": self._previous.copy(), "people": self._people.copy()}

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self._previous = np.asarray(state["previous"], np.uint8)
        self._people = np.asarray(state["people"], float).reshape(-1, 4)


def _mask(shape: tuple[int, ...], xyxy: FloatArray) -> NDArray[np.uint8]:
    """255 where a corner may be, 0 on people."""
    mask = np.full(shape[:2], 255, np.uint8)
    limit = np.array([shape[1], shape[0], shape[1], shape[0]], float)
    for left, top, right, bottom in np.clip(xyxy, 0, limit):
        mask[int(top):int(np.ceil(bottom)), int(left):int(np.ceil(right))] = 0
    return mask
