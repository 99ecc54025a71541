"""Three hundred damaged videos: no crash, no hang, and nothing short goes unsaid.

libav is C: a damaged file may crash or hang the process. So a worker process reads them and says which seed it begins
with; the test names the seed when the worker dies or falls silent. To look at one: ``python test_video_fuzz.py FOLDER
SEED SEED+1`` with the folder that ``write_originals`` filled.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COUNT = 300
FRAMES = 60
LIMIT_S = 10.0
ROOT = Path(__file__).resolve().parents[2]
ORIGINALS: dict[str, dict[str, Any]] = {
    "plain.mp4": {"codec_options": {"preset": "fast"}},
    "fast.mp4": {"mux": {"movflags": "faststart"}},
    "fragmented.mp4": {"mux": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}},
    "plain.mkv": {},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "bframes.avi": {"codec_options": {"preset": "fast", "bf": "2"}},
    "plain.ts": {},
}
DECLARING = ("fast.mp4", "plain.mkv", "mpeg4.avi", "mjpeg.avi", "bframes.avi")
"""Those whose beginning says how long they are."""
KINDS = ("flip", "flip", "cut", "header", "header", "tail", "hole", "garbage", "swap")


def write_originals(folder: Path) -> None:
    from video_clips import write_clip

    for name, options in ORIGINALS.items():
        write_clip(folder / name, FRAMES, size=(160, 120), **options)


def damage(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """One kind of damage."""
    out = bytearray(data)
    size = len(out)
    at, length = int(rng.integers(0, size)), int(rng.integers(1, max(size // 5, 2)))
    if kind == "flip":
        for bit in rng.integers(0, size * 8, int(rng.choice([1, 5, 50, 500]))):
            out[bit // 8] ^= 1 << (bit % 8)
    elif kind == "cut":
        del out[at:]
    elif kind in ("header", "tail"):
        area = min(1500, size)
        begin = 0 if kind == "header" else size - area
        for _ in range(int(rng.choice([1, 3, 20]))):
            place = begin + int(rng.integers(0, area - 4))
            values = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", rng.bytes(4))
            out[place:place + 4] = values[int(rng.integers(len(values)))]
    elif kind == "hole":
        out[at:at + length] = bytes(len(out[at:at + length]))
    elif kind == "garbage":
        out[at:at + length] = rng.bytes(len(out[at:at + length]))
    elif kind == "swap":
        other = int(rng.integers(0, size))
        piece, second = bytes(out[at:at + length]), bytes(out[other:other + length])
        out[at:at + length], out[other:other + length] = second, piece
    return bytes(out)


def read_one(folder: Path, seed: int) -> dict[str, Any]:
    """Damage one original and read it to the end."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from mctrack.config import VideoConfig
    from mctrack.errors import SourceError
    from mctrack.video.cameras import parse_cameras
    from mctrack.video.reader import open_source

    rng = np.random.default_rng(seed)
    name = list(ORIGINALS)[seed % len(ORIGINALS)]
    kind = str(rng.choice(KINDS))
    path = folder / f"damaged_{seed}{Path(name).suffix}"
    path.write_bytes(damage((folder / name).read_bytes(), kind, rng))
    result: dict[str, Any] = {"seed": seed, "name": name, "kind": kind, "frames": 0, "error": None}
    began_s = time.monotonic()
    try:
        source = open_source(parse_cameras([f"cam={path}"])[0], VideoConfig())
        result["declared"] = source.frame_count
        last_s, last_index = -1.0, -1
        for frame in source:
            assert frame.time_s > last_s
            assert frame.index > last_index
            assert frame.image is not None
            assert frame.image.shape == (source.size[1], source.size[0], 3)
            last_s, last_index = frame.time_s, frame.index
            result["frames"] += 1
        source.close()
        report = source.report()
        result |= {"complete": report.complete, "warnings": report.warnings, "expected": report.expected}
        assert report.decoded == result["frames"]
    except SourceError as error:
        result["error"] = str(error)
    result["took_s"] = time.monotonic() - began_s
    path.unlink(missing_ok=True)
    return result


def work(folder: Path, first: int, end: int) -> None:
    """The worker: a line before each seed and one after."""
    for seed in range(first, end):
        print(json.dumps({"begin": seed}), flush=True)
        print(json.dumps(read_one(folder, seed)), flush=True)


def run_worker(folder: Path, first: int, end: int) -> tuple[list[dict[str, Any]], str | None]:
    """Results of the seeds until the end or the first disaster, and what that was."""
    command = [sys.executable, str(Path(__file__).resolve()), str(folder), str(first), str(end)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    results: list[dict[str, Any]] = []
    seed, due_s, text = first, time.monotonic() + 60, b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(due_s - time.monotonic(), 0))
        if not ready:
            process.kill()
            return results, f"seed {seed}: nothing for more than {LIMIT_S} s"
        piece = process.stdout.read1(65536)  # type: ignore[attr-defined]
        if not piece:
            break
        *lines, text = (text + piece).split(b"\n")
        for line in map(json.loads, lines):
            seed = line.get("begin", seed)
            if "begin" not in line:
                results.append(line)
        due_s = time.monotonic() + LIMIT_S + 5  # and something for a busy machine
    code = process.wait()
    if code != 0:
        last = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        return results, f"seed {seed}: the reader ended with {code} {last}"
    return results, None


def judge(result: dict[str, Any]) -> str | None:
    """What is wrong with a result."""
    if result["took_s"] > LIMIT_S:
        return f"took {result['took_s']:.1f} s"
    frames, declared, error = result["frames"], result.get("declared"), result["error"]
    if error is not None:
        named = "camera 'cam'" in error or "0 bytes" in error
        return None if named and "\n" not in error else f"bad message {error!r}"
    if frames == 0:
        return "no frame and no error"
    if not result["complete"] and not result["warnings"]:
        return "incomplete without a reason"
    if result["kind"] in ("header", "tail"):  # its own word on how long it is may be what was damaged
        return None
    counts = {str(declared), str(result["expected"])}
    told = [w for w in result["warnings"] if str(frames) in w and any(c in w for c in counts)]
    if declared is not None and frames < min(declared - 1, 0.98 * declared) and (result["complete"] or not told):
        return "fewer frames than declared, and it does not say so"
    if result["kind"] == "cut" and result["name"] in DECLARING and frames < FRAMES - 2 and result["expected"] != FRAMES:
        return f"cut, but {result['expected']} frames expected"
    return None


def silent(result: dict[str, Any]) -> bool:
    """Whether frames are lost without a word, in a file that declares no length (or a damaged one)."""
    return 0 < result["frames"] < FRAMES - 2 and result["complete"] and not result["warnings"]


@pytest.mark.slow
def test_three_hundred_damaged_videos(tmp_path: Path) -> None:
    write_originals(tmp_path)
    results: list[dict[str, Any]] = []
    failures: list[str] = []
    first = 0
    while first < COUNT:
        done, disaster = run_worker(tmp_path, first, min(first + 60, COUNT))
        results += done
        first += len(done)
        if disaster:
            failures.append(disaster)
            first += 1
    failures += [f"seed {r['seed']} ({r['kind']} in {r['name']}): {why}" for r in results if (why := judge(r))]
    assert failures == []
    assert len(results) == COUNT
    unsaid = [f"seed {r['seed']} ({r['kind']} in {r['name']}, {r['frames']} frames)" for r in results if silent(r)]
    assert len(unsaid) <= 0.01 * COUNT, unsaid
    # The damage is real, and mostly survived.
    read = [r for r in results if r["frames"]]
    assert 0.4 * COUNT < len(read) < 0.95 * COUNT
    assert sum(not r["complete"] for r in read) > 0.1 * COUNT


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
