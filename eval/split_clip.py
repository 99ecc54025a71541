"""Make two cameras out of one clip with ground truth: its left and right part, sharing a fifth, one of them late.

    python eval/split_clip.py --video CLIP --gt GT.txt --gt-scale 0.625 --delay-s 1.3 --out DIR
    mctrack run --cams DIR/left.mp4 DIR/right.mp4 --set 'video.offset_s={right: 1.3}' … --out DIR/run
    mctrack eval --benchmark folder --root DIR --results DIR/run

The right camera starts ``delay_s`` later, so its own clock is that much behind; ``video.offset_s`` puts it right.
Truth is cut along: a person in both parts has one identity. Boxes are cut at the new edges; where less than 0.4 of a
person is inside, the row is marked to be ignored.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

VISIBLE = 0.4


def windows(width: int, overlap: float) -> dict[str, tuple[int, int]]:
    """Even pixel columns [from, to) of the two parts; together they share ``overlap`` of the picture's width."""
    reach = round(width * (0.5 + overlap / 2) / 2) * 2
    return {"left": (0, reach), "right": (width - reach, width)}


def cut_video(source: Path, target: Path, columns: tuple[int, int], skip: int, fps: float) -> int:
    """Write the given columns from frame ``skip`` on; returns the number of frames."""
    count = 0
    with av.open(str(source)) as movie, av.open(str(target), "w") as out:
        rate = Fraction(fps).limit_denominator(1000)
        stream = out.add_stream("libx264", rate=rate, options={"crf": "14", "preset": "fast"})
        for index, frame in enumerate(movie.decode(video=0)):
            if index < skip:
                continue
            picture = np.ascontiguousarray(frame.to_ndarray(format="bgr24")[:, columns[0] : columns[1]])
            if not count:
                stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
            view = av.VideoFrame.from_ndarray(picture, format="bgr24")
            view.pts, view.time_base = count, 1 / rate
            out.mux(stream.encode(view))
            count += 1
        out.mux(stream.encode(None))
    return count


def cut_truth(truth: np.ndarray, columns: tuple[int, int], skip: int) -> np.ndarray:
    """Rows (frame, id, x, y, w, h, conf) of one part, frames counted from its own start."""
    left = np.clip(truth[:, 2], *columns)
    right = np.clip(truth[:, 2] + truth[:, 4], *columns)
    inside = (right - left) / np.maximum(truth[:, 4], 1e-9)
    rows = truth.copy()
    rows[:, 0] -= skip
    rows[:, 2], rows[:, 4] = left - columns[0], right - left
    rows[inside < VISIBLE, 6] = 0
    return rows[(inside > 0.05) & (rows[:, 0] >= 1)]


def main() -> None:
    """Read the arguments and write the two cameras with their truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--gt", type=Path, required=True, help="MOTChallenge ground truth")
    parser.add_argument("--gt-scale", type=float, default=1.0, help="ground truth × this = pixels of the video")
    parser.add_argument("--overlap", type=float, default=0.2, help="share of the width that both see")
    parser.add_argument("--delay-s", type=float, default=1.3, help="the right camera starts this much later")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with av.open(str(args.video)) as movie:
        fps, width = float(movie.streams.video[0].average_rate), movie.streams.video[0].width
    truth = np.loadtxt(args.gt, delimiter=",", ndmin=2)[:, :7]
    truth[:, 2:6] *= args.gt_scale
    (args.out / "gt").mkdir(parents=True, exist_ok=True)
    for name, columns in windows(width, args.overlap).items():
        skip = round(args.delay_s * fps) if name == "right" else 0
        frames = cut_video(args.video, args.out / f"{name}.mp4", columns, skip, fps)
        rows = cut_truth(truth, columns, skip)
        np.savetxt(args.out / "gt" / f"{name}.txt", np.c_[rows, np.ones((len(rows), 2))],
                   fmt="%d,%d,%.2f,%.2f,%.2f,%.2f,%d,%d,%d")
        info = f"[Sequence]\nname={name}\nframeRate={fps:g}\nseqLength={frames}\n"
        (args.out / "gt" / f"{name}.ini").write_text(info)
        print(f"{name}: {frames} frames of columns {columns[0]} to {columns[1]}, {len(rows)} boxes")


if __name__ == "__main__":
    main()
