"""A film of the mistakes only: missed people, false boxes, changed names; whatever is right is left out."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mctrack.errors import SourceError

if TYPE_CHECKING:
    from mctrack.evaluation.report import Details
    from mctrack.types import Image

Box = tuple[float, float, float, float]
MISSED, FALSE, SWITCH, RIGHT = (60, 60, 230), (0, 150, 255), (230, 40, 200), (170, 170, 170)
"""Blue, green, red: missed red, false orange, switches magenta, what is right grey."""
HOLD_S = 0.8
"""A switch is over in a frame: it is held this long."""
LEAST_HEIGHT_PX = 480


@dataclass
class Moment:
    """What is to be drawn into one frame; ``switches`` counts those among the marks."""

    marks: list[tuple[Box, tuple[int, int, int], str]] = field(default_factory=list)
    right: list[Box] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"missed": 0, "false": 0, "switches": 0})


def moments(details: Details) -> dict[int, Moment]:
    """Frame (from 1) → what is wrong in it; frames without a mistake are left out."""
    from mctrack.evaluation.mistakes import find_mistakes

    overlaps = details.overlaps
    mistakes = find_mistakes(overlaps, details.iou)
    found: dict[int, Moment] = defaultdict(Moment)
    for row, frame in enumerate(overlaps.frames[overlaps.frame_of_gt()].tolist()):
        moment, box = found[frame], _box(details.gt.xyxy[row])
        person, col = int(overlaps.gt_id[row]), int(mistakes.result_of_gt[row])
        if col < 0:
            moment.marks.append((box, MISSED, f"missed {person}"))
            moment.counts["missed"] += 1
        elif mistakes.switched[row]:
            names = f"{int(mistakes.previous_id[row])} > {int(overlaps.result_id[col])}"
            moment.marks.append((_box(details.result.xyxy[col]), SWITCH, f"{person}: {names}"))
            moment.counts["switches"] += 1
        else:
            moment.right.append(_box(details.result.xyxy[col]))
    frames = overlaps.frames[overlaps.frame_of_result()]
    for col in mistakes.false.nonzero()[0].tolist():
        moment = found[int(frames[col])]
        moment.marks.append((_box(details.result.xyxy[col]), FALSE, f"false {int(overlaps.result_id[col])}"))
        moment.counts["false"] += 1
    return {frame: moment for frame, moment in found.items() if moment.marks}


def _box(xyxy: Any) -> Box:
    x0, y0, x1, y1 = (float(v) for v in xyxy)
    return x0, y0, x1, y1


def film(details: Details, source: Path, name: str, out: Path) -> str:
    """Write the film of one sequence; returns a line that says what is in it.

    Args:
        details: its boxes.
        source: its video, or its folder of pictures.
        name: the sequence's name.
        out: the .mp4 file.

    Raises:
        SourceError: the video cannot be read.
        OutputError: the film cannot be written.
    """
    from mctrack.config import VideoConfig
    from mctrack.video.cameras import parse_cameras
    from mctrack.video.reader import open_source
    from mctrack.video.writer import VideoWriter

    wanted = moments(details)
    [spec] = parse_cameras([f"{name}={source}"])
    writer, shown, time_s = None, 0, 0.0
    with closing(open_source(spec, VideoConfig(folder_fps=details.fps))) as frames:
        for frame in frames:
            moment = wanted.get(frame.index + 1)
            if moment is None or frame.image is None:
                continue
            picture = draw(frame.image, moment, f"{name}  frame {frame.index + 1}  {frame.time_s:.1f} s")
            if writer is None:
                out.parent.mkdir(parents=True, exist_ok=True)
                writer = VideoWriter(out, (picture.shape[1], picture.shape[0]), details.fps)
            writer.write(picture, time_s)
            time_s += HOLD_S if moment.counts["switches"] else 1 / details.fps
            shown += 1
    if writer is None:
        if wanted:
            raise SourceError(f"{source}: no picture of the {len(wanted)} frames with a mistake")
        return f"{name}: no mistakes, no film"
    writer.write(picture, time_s)  # a film's last frame has no length of its own
    writer.close()
    left_out = f" ({len(wanted) - shown} more have no picture)" if shown < len(wanted) else ""
    return f"{out}: {shown} frames with mistakes{left_out}"


def draw(image: Image, moment: Moment, title: str) -> Image:
    """The picture with its mistakes marked, at least ``LEAST_HEIGHT_PX`` high, below a strip that counts them."""
    import cv2
    import numpy as np

    factor = max(1, -(-LEAST_HEIGHT_PX // image.shape[0]))
    picture = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    size = max(0.45, picture.shape[0] / 1400)
    for box in moment.right:
        cv2.rectangle(picture, *_corners(box, factor), RIGHT, 1, cv2.LINE_AA)
    for box, colour, _ in moment.marks:
        cv2.rectangle(picture, *_corners(box, factor), colour, 2, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    for box, colour, text in moment.marks:
        _label(picture, text, _corners(box, factor)[0], colour, size, taken)
    strip = np.full((round(46 * size), picture.shape[1], 3), 30, np.uint8)
    said = "  ".join(f"{k} {v}" for k, v in moment.counts.items() if v)
    cv2.putText(strip, f"{title}  {said}", (8, round(30 * size)), cv2.FONT_HERSHEY_SIMPLEX, size, (240, 240, 240), 1,
                cv2.LINE_AA)
    return np.ascontiguousarray(np.vstack([strip, picture]).astype(np.uint8))


def _corners(box: Box, factor: int) -> tuple[tuple[int, int], tuple[int, int]]:
    x0, y0, x1, y1 = (round(v * factor) for v in box)
    return (x0, y0), (x1, y1)


def _label(picture: Any, text: str, corner: tuple[int, int], colour: tuple[int, int, int], size: float,
           taken: list[tuple[int, int, int, int]]) -> None:
    """A label above a box, further up where others stand already."""
    import cv2

    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    left = min(max(corner[0], 0), max(picture.shape[1] - width - 4, 0))
    top = max(corner[1] - height - below - 2, 0)
    right, deep = left + width + 4, height + below + 2
    while top > deep and any(a < right and left < c and b < top + deep and top < d for a, b, c, d in taken):
        top -= deep
    taken.append((left, top, right, top + deep))
    cv2.rectangle(picture, (left, top), (right, top + deep), colour, -1)
    cv2.putText(picture, text, (left + 2, top + height + 1), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1,
                cv2.LINE_AA)
