"""What appearance, geometry and time are each worth: a hall of overlapping views and a corridor of separate ones.

    python eval/site_ablation.py [--out runs/sites] [--only hall|corridor] [--seconds 60] [--seed 307] [--fps 10]
                                 [--detector truth|degraded|NAME] [--reid robust_reid_compact]

Renders both scenes (``mctrack synth scene``), writes what a user would have beside them (a site file with the cameras'
calibration, the times that people take between neighbouring cameras), runs ``mctrack run`` and ``mctrack refine`` with
every cue and with each left out, scores both with ``mctrack eval``, and writes ``eval/results/sites.md`` and
``sites.json``. What ``--out`` holds already is not done again: an interrupted call goes on where it was; figures of a
scene or detector that is not asked for stay. ``--detector truth`` takes the true boxes of everybody at least a quarter
visible, ``degraded`` these with 8 % missing, edges shaken by 4 % of the height and 2 % false ones; any other name goes
to ``mctrack run``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "eval" / "results"
SCENES = {
    "hall": "Hall, 20 people, 6 cameras whose views overlap",
    "corridor": "Corridor, 10 people, 4 cameras that never overlap",
}
MIN_VISIBILITY = 0.25
"""True boxes of people less visible than this are no detections: no detector would find them."""
DROPPED, JITTER, FALSE = 0.08, 0.04, 0.02
TIGHTEST, WIDEST = 0.7, 1.5
"""A user who timed a few walks from camera to camera allows for faster and slower people."""
FIGURES = ("MC_IDF1", "IDF1", "MOTA", "HandOver", "Return", "GP_MOTA", "GP_IDF1")


@dataclass(frozen=True)
class Variant:
    """Which cues a run may use."""

    name: str
    title: str
    appearance: bool = True
    geometry: bool = True
    time: bool = True


VARIANTS = (
    Variant("all", "all cues"),
    Variant("no-appearance", "without appearance", appearance=False),
    Variant("no-geometry", "without geometry", geometry=False),
    Variant("no-time", "without time", time=False),
    Variant("appearance", "appearance only", geometry=False, time=False),
    Variant("time", "time only", appearance=False, geometry=False),
    Variant("motion", "none: motion in single cameras", appearance=False, geometry=False, time=False),
)

# ---------------------------------------------------------------------------------------- what a user would have


def read_boxes(text: str) -> Array:
    """(n, 9) rows of a synthetic ground truth: frame from 1, id, left, top, width, height, counts, class, visibility.

    Left out are people who are nearly covered.
    """
    rows = np.array([line.split(",") for line in text.splitlines() if line.strip()], float).reshape(-1, 9)
    return rows[(rows[:, 6] > 0) & (rows[:, 8] >= MIN_VISIBILITY)]


def degrade(rows: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Boxes as a mediocre detector would give them.

    Args:
        rows: (n, 9) as :func:`read_boxes` gives them.
        size: (width, height) of the picture, pixels.
        rng: decides which are missing, how edges move, where false ones are.

    Returns:
        (m, 9) rows in order of frames: ``DROPPED`` of them missing, every edge moved by a normal deviate of ``JITTER``
        times the height, and ``FALSE`` as many false ones, of a real box's size at a random place.
    """
    kept = rows[rng.random(len(rows)) >= DROPPED].copy()
    shift = rng.normal(0.0, JITTER, (len(kept), 4)) * kept[:, 5:6]
    kept[:, 2:4] += shift[:, :2]
    kept[:, 4:6] = np.maximum(kept[:, 4:6] + shift[:, 2:] - shift[:, :2], 2.0)
    if not len(rows):
        return kept
    wrong = rows[rng.integers(0, len(rows), rng.binomial(len(rows), FALSE))].copy()
    wrong[:, 0] = rng.permutation(rows[:, 0])[: len(wrong)]
    wrong[:, 2:4] = rng.random((len(wrong), 2)) * np.maximum(np.array(size) - wrong[:, 4:6], 1.0)
    both = np.concatenate([kept, wrong])
    return np.asarray(both[np.argsort(both[:, 0], kind="stable")])


def detection_text(rows: Array) -> str:
    """MOTChallenge detections, all of one score: frame from 1, −1, left, top, width, height, 1."""
    return "".join(f"{int(r[0])},-1,{r[2]:.2f},{r[3]:.2f},{r[4]:.2f},{r[5]:.2f},1\n" for r in rows)


def write_detections(scene: Path, folder: Path, degraded: bool, seed: int) -> None:
    """``folder/<camera>.txt`` for every camera of a rendered scene."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras = json.loads((scene / "calibration.json").read_text())["cameras"]
    for number, (name, camera) in enumerate(sorted(cameras.items())):
        rows = read_boxes((scene / "gt" / f"{name}.txt").read_text())
        if degraded:
            width, height = camera["image_size"]
            rows = degrade(rows, (width, height), np.random.default_rng([seed, number]))
        (folder / f"{name}.txt").write_text(detection_text(rows))


def walking_times(topology: Mapping[str, Any]) -> dict[str, list[float]]:
    """``"cam1->cam2"`` → [min_s, max_s], both ways alike, for cameras of areas that a door joins.

    A user knows which cameras are neighbours and about how long the way takes, not every way somebody once took: of
    ``topology.json`` only the shortest and longest time between such areas is used, with room on either side.
    """
    door_of = {tuple(sorted((a.split(".")[0], b.split(".")[0]))) for a, b in topology["doors"].items() if b}
    area_of = {camera: area for area, cameras in topology["areas"].items() for camera in cameras}
    spans: dict[tuple[str, str], list[float]] = {}
    for link in topology["transitions"]:
        for a in link["from"]:
            for b in link["to"]:
                if tuple(sorted((area_of[a], area_of[b]))) in door_of:
                    spans.setdefault((min(a, b), max(a, b)), []).extend([link["min_s"], link["max_s"]])
    out = {}
    for (a, b), times in sorted(spans.items()):
        span = [round(TIGHTEST * min(times), 1), round(WIDEST * max(times), 1)]
        out[f"{a}->{b}"], out[f"{b}->{a}"] = span, span
    return out


def site_file(calibration: str, cameras: Sequence[str], times: Mapping[str, Sequence[float]]) -> str:
    """The text of a site file: every camera's calibration by ``calibration`` (a path), and the times between them."""
    lines = ["unit: m", "cameras:", *(f"  {name}: {{file: {calibration}}}" for name in cameras)]
    if times:
        lines += ["transitions:", *(f'  "{way}": [{low:g}, {high:g}]' for way, (low, high) in times.items())]
    return "\n".join(lines) + "\n"


def time_config(times: Mapping[str, Sequence[float]]) -> str:
    """The same times as a configuration, for cameras without calibration."""
    if not times:
        return "associate: {}\n"
    return "associate:\n  transitions:\n" + "".join(f'    "{w}": [{a:g}, {b:g}]\n' for w, (a, b) in times.items())


# ---------------------------------------------------------------------------------------- commands


def commands(scene: str, variant: Variant, detector: str, reid: str) -> list[str]:
    """``mctrack run``, ``refine`` and ``eval`` (online, refined) of one variant; paths are relative to ``--out``."""
    run = f"{scene}-{detector}/{variant.name}"
    options = [f"--detector file --weights {scene}-{detector}/det" if detector in ("truth", "degraded")
               else f"--detector {detector}", f"--reid {reid if variant.appearance else 'none'}"]
    if variant.geometry:
        options.append(f"--calib {scene}-{detector}/{'site' if variant.time else 'cameras'}.yaml")
    elif variant.time:
        options.append(f"--config {scene}-{detector}/times.yaml")
    if not variant.time:
        options.append("--set associate.learn_transitions=false")
    score = f"mctrack eval --benchmark lab --root {scene} --results"
    return [
        f"mctrack run --cams {scene}/cam*.mp4 {' '.join(options)} --no-video --quiet --out {run}",
        f"mctrack refine {run} --quiet",
        f"{score} {run} --json {run}/online.json",
        f"{score} {run}/refined --json {run}/refined.json",
    ]


def render_command(scene: str, seconds: float, fps: float, seed: int) -> str:
    """Filming one scene."""
    return (f"mctrack synth scene --preset {scene} --seed {seed} --seconds {seconds:g} --fps {fps:g} --out {scene} "
            "--quiet")


def call(command: str, out: Path) -> None:
    """Run one command in ``out``; its globs are the shell's to fill in.

    Raises:
        SystemExit: it failed; with what it said.
    """
    line = command.replace("mctrack ", f"{shlex.quote(sys.executable)} -m mctrack ", 1)
    where = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    done = subprocess.run(["bash", "-c", line], cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONPATH": where})
    if done.returncode:
        raise SystemExit(f"{command}\nended with exit code {done.returncode}:\n{done.stderr[-2000:]}")


def figures_of(report: Path) -> dict[str, float]:
    """The figures shown, of those that a report has."""
    combined = json.loads(report.read_text())["combined"]
    return {k: float(combined[k]) for k in FIGURES if combined.get(k) is not None}


def measure(scene: str, variant: Variant, detector: str, reid: str, out: Path) -> dict[str, dict[str, float]]:
    """``{"online": figures, "refined": figures}``; steps whose results are there are left out."""
    run = out / f"{scene}-{detector}" / variant.name
    marks = [run / "tracks.csv", run / "refined" / "changes.json", run / "online.json", run / "refined.json"]
    for mark, command in zip(marks, commands(scene, variant, detector, reid), strict=True):
        if mark.is_file():
            continue
        if mark == marks[0] and (run / "run.db").is_file():
            command = f"mctrack run --resume --quiet --out {run.relative_to(out)}"
        call(command, out)
    return {"online": figures_of(marks[2]), "refined": figures_of(marks[3])}


def prepare(scene: str, detector: str, seconds: float, fps: float, seed: int, out: Path) -> None:
    """Film the scene and write what the runs need beside it, where that is not there yet."""
    if not (out / scene / "README.md").is_file():  # written last
        call(render_command(scene, seconds, fps, seed), out)
    folder = out / f"{scene}-{detector}"
    folder.mkdir(exist_ok=True)
    if detector in ("truth", "degraded") and not (folder / "times.yaml").is_file():
        write_detections(out / scene, folder / "det", detector == "degraded", seed)
    cameras = sorted(json.loads((out / scene / "calibration.json").read_text())["cameras"])
    times = walking_times(json.loads((out / scene / "topology.json").read_text()))
    (folder / "site.yaml").write_text(site_file(f"../{scene}/calibration.json", cameras, times))
    (folder / "cameras.yaml").write_text(site_file(f"../{scene}/calibration.json", cameras, {}))
    (folder / "times.yaml").write_text(time_config(times))


# ---------------------------------------------------------------------------------------- the table


def table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Markdown: a row per variant, each figure online and refined, in %.

    Args:
        figures: variant → ``online`` and ``refined`` → figure → value as a fraction of 1.
    """
    shown = [f for f in FIGURES if any(f in part for both in figures.values() for part in both.values())]
    head = "| cues | " + " | ".join(f"{f} | refined" for f in shown) + " |"
    lines = [head, "|:--" + "|--:|--:" * len(shown) + "|"]
    titles = {v.name: v.title for v in VARIANTS}
    for name, both in figures.items():
        cells = [f"{100 * both[p][f]:.1f}" if f in both[p] else "" for f in shown for p in ("online", "refined")]
        lines.append(f"| {titles.get(name, name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown(kept: Mapping[str, Any]) -> str:
    """``sites.md`` from all that ``sites.json`` keeps."""
    text = ["# Hall and corridor: what each cue is worth", "",
            "Written by `python eval/site_ablation.py`. IoU ≥ 0.5; ground truth less visible than a tenth neither hit "
            "nor miss; MC_IDF1 with one identity space over all cameras; HandOver: people who keep their identity from "
            "one camera to the next; Return: from one visit to the next in one camera; GP_*: on the floor, within 1 m, "
            "also of those whom no camera sees; in %. Each figure online and, beside it, after `mctrack refine`."]
    for key in sorted(kept, key=lambda k: (list(SCENES).index(kept[k]["scene"]), k)):
        part = kept[key]
        boxes = {"truth": "true boxes", "degraded": "degraded boxes"}.get(part["detector"], part["detector"])
        listed = "\n".join([render_command(part["scene"], part["seconds"], part["fps"], part["seed"]),
                            *commands(part["scene"], VARIANTS[0], part["detector"], part["reid"])])
        text += ["", f"## {SCENES[part['scene']]}: {boxes}", "",
                 f"Seed {part['seed']}, {part['seconds']:g} s at {part['fps']:g} Hz, embedder {part['reid']}:", "",
                 f"```\n{part['command']}\n```", "", "which for all cues runs", "", f"```\n{listed}\n```", "",
                 table(part["figures"])]
    return "\n".join(text) + "\n"


def main() -> None:
    """Read the arguments, do what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "sites")
    parser.add_argument("--only", choices=list(SCENES), default=None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=307)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--detector", default="truth", help="truth, degraded, or a detector of mctrack run")
    parser.add_argument("--reid", default="robust_reid_compact")
    parser.add_argument("--variants", default="", help="comma-separated; default: all")
    parser.add_argument("--no-write", action="store_true", help="print the tables, leave eval/results as it is")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    wanted = {v for v in args.variants.split(",") if v} or {v.name for v in VARIANTS}
    known = [v.name for v in VARIANTS]
    if unknown := wanted - set(known):
        raise SystemExit(f"--variants: unknown {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    file = RESULTS / "sites.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    for scene in [args.only] if args.only else list(SCENES):
        prepare(scene, args.detector, args.seconds, args.fps, args.seed, out)
        found = {}
        for variant in (v for v in VARIANTS if v.name in wanted):
            found[variant.name] = measure(scene, variant, args.detector, args.reid, out)
            print(scene, variant.name, {k: {f: round(100 * v, 1) for f, v in part.items()}
                                        for k, part in found[variant.name].items()}, flush=True)
        command = (f"python eval/site_ablation.py --only {scene} --seconds {args.seconds:g} --seed {args.seed} --fps "
                   f"{args.fps:g} --detector {args.detector} --reid {args.reid}"
                   + (f" --variants {args.variants}" if args.variants else ""))
        kept[f"{scene}-{args.detector}"] = {
            "scene": scene, "detector": args.detector, "seconds": args.seconds, "seed": args.seed, "fps": args.fps,
            "reid": args.reid, "command": command, "figures": found,
        }  # fmt: skip
        print(table(found), flush=True)
        if not args.no_write:
            file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
            (RESULTS / "sites.md").write_text(markdown(kept))


if __name__ == "__main__":
    main()
