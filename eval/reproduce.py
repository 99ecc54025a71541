"""Run every command behind the figures and write them, with the commands, to ``eval/results``.

    python eval/reproduce.py [--data DIR] [--out runs/reproduce] [--only NAME,NAME]
    python eval/readme_table.py

``--data`` (default: $MCTRACK_DATA, else ``../shared/data`` beside the project) is a folder with ``pets09_s2l1``,
``mot15``, ``mot15_results_cem``, ``mot17``, ``wildtrack`` and ``weights/yolox_nano.onnx``; see eval/README.md. Cases
whose data are missing are left out and named. Writes ``eval/results/run.md`` (one table, and each line's commands),
``eval/results/<case>.md`` (all sequences of a case, with its protocol) and ``eval/results/figures.json``; figures of
cases that are not run again stay.
All of it takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "eval" / "results"
TRACKING = ("MOTA", "IDF1", "HOTA", "IDSW")
CAMERAS = (*TRACKING, "MC_IDF1")
GROUND = ("MODA", "MODP", "GOSPA")
FLOOR = ("GP_MOTA", "GP_IDF1")
COLUMNS = (*CAMERAS, *FLOOR, *GROUND)


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        name: of its own file of results.
        title: what it shows.
        commands: the last one scores; it gets ``--json`` and ``--markdown`` besides.
        needs: what has to lie in the data folder.
        shown: the figures it is about.
        goal: what was asked for.
    """

    name: str
    title: str
    commands: tuple[str, ...]
    needs: tuple[str, ...] = ()
    shown: tuple[str, ...] = TRACKING
    goal: str = ""


@dataclass
class Line:
    """A case's figures as they are kept in ``figures.json``."""

    title: str
    goal: str
    commands: list[str]
    figures: dict[str, float] = field(default_factory=dict)


def cases(data: Path, out: Path) -> list[Case]:
    """All cases, with paths filled in."""
    d, o = shlex.quote(str(data)), shlex.quote(str(out))
    pets, weights = f"{d}/pets09_s2l1", f"{d}/weights/yolox_nano.onnx"
    yolox = f"--detector onnx --weights {weights}"
    needs = ("pets09_s2l1", "weights/yolox_nano.onnx")
    score = f"mctrack eval --gt {pets}/{{gt}}.txt --gt-scale 0.625 --results {o}/{{run}}/tracks/vtest.txt"
    split = (f"mctrack eval --benchmark split --split {{how}} --root {pets} --gt {pets}/gt_reentry.txt "
             f"--gt-scale 0.625 --set detect.name=onnx --set detect.weights={weights} --out {o}/split-{{how}}")
    return [
        Case("pets", "PETS09-S2L1, YOLOX-nano, motion only", (
            f"mctrack run --cams {pets}/vtest.avi {yolox} --reid none --no-video --out {o}/motion",
            score.format(gt="gt", run="motion")), needs, goal="MOTA ≥ 78, IDF1 ≥ 70, HOTA ≥ 52"),
        Case("pets-reentry", "the same, one identity a person over all absences, default embedder", (
            f"mctrack run --cams {pets}/vtest.avi {yolox} --no-video --out {o}/reentry",
            score.format(gt="gt_reentry", run="reentry")), needs, goal="IDF1 ≥ 55"),
        Case("pets-shipped", "PETS09-S2L1, one identity a person, nothing fetched (default detector and embedder)", (
            f"mctrack run --cams {pets}/vtest.avi --detector embedded --no-video --out {o}/shipped",
            score.format(gt="gt_reentry", run="shipped")), ("pets09_s2l1",)),
        Case("pets-halves", "PETS09-S2L1 as two cameras that share a fifth of the picture", (
            split.format(how="halves"),), needs, CAMERAS),
        Case("pets-gap", "PETS09-S2L1 as two cameras with a fifth unseen between them", (
            split.format(how="gap"),), needs, CAMERAS),
        Case("mot17", "MOT17-02, 09, 10, 13, public FRCNN detections, motion only", (
            f"mctrack eval --benchmark mot17 --root {d}/mot17 --out {o}/mot17",), ("mot17",),
            goal="HOTA ≥ 43.0, IDF1 ≥ 49.2"),
        Case("mot15", "MOT15, eight train sequences, Faster R-CNN detections, motion only", (
            f"mctrack eval --benchmark mot15 --root {d}/mot15 --out {o}/mot15",), ("mot15",)),
        Case("mot15-cem", "MOT15, the same sequences, results of CEM (a published tracker) as scored here", (
            f"mctrack eval --benchmark mot15 --root {d}/mot15 --results {d}/mot15_results_cem --sequences "
            "ADL-Rundle-6,ADL-Rundle-8,ETH-Bahnhof,ETH-Pedcross2,ETH-Sunnyday,KITTI-13,KITTI-17,Venice-2",),
            ("mot15", "mot15_results_cem")),
        Case("wildtrack", "WILDTRACK, last 40 frames: positions from a detector's boxes, no tracking", (
            f"python eval/wildtrack_positions.py --data {d}/wildtrack --out {o}/wildtrack",
            f"mctrack eval --benchmark wildtrack --root {d}/wildtrack --results {o}/wildtrack --sequences last40"),
            ("wildtrack",), GROUND),
        Case("lab", "LAB scene (synthetic, four calibrated cameras, a minute), default detector and embedder", (
            f"mctrack synth scene --preset lab --seed 137 --seconds 60 --out {o}/lab --quiet",
            f"mctrack eval --benchmark lab --root {o}/lab --set calib={o}/lab/calibration.json --out {o}/lab-run"), (),
            (*CAMERAS, *FLOOR)),
        Case("lab-no-reid", "the same scene and calibration without ReID", (
            f"mctrack eval --benchmark lab --root {o}/lab --set calib={o}/lab/calibration.json --set reid.name=none "
            f"--out {o}/lab-no-reid",), (), (*CAMERAS, *FLOOR)),
        Case("lab-no-calib", "the same scene without calibration (figures of the image plane only)", (
            f"mctrack eval --benchmark lab --root {o}/lab --out {o}/lab-no-calib",), (), CAMERAS),
        Case("clips", "sample clips, nothing fetched (default detector and embedder)", (
            f"mctrack run --cams videos/cam*.mp4 --no-video --out {o}/clips",
            f"mctrack eval --benchmark folder --root videos --results {o}/clips"), (), CAMERAS),
        Case("clips-refined", "the same run after its second pass", (
            f"mctrack refine {o}/clips",
            f"mctrack eval --benchmark folder --root videos --results {o}/clips/refined"), (), CAMERAS),
        Case("clips-calib", "sample clips with their calibration, nothing fetched", (
            f"mctrack run --cams videos/cam*.mp4 --calib videos/calibration.json --no-video --out {o}/clips-calib",
            f"mctrack eval --benchmark folder --root videos --results {o}/clips-calib"), (), CAMERAS),
        Case("clips-perfect", "sample clips, perfect boxes (what identities alone cost)", (
            f"mctrack run --cams videos/cam*.mp4 --detector file --weights videos/gt --no-video --out {o}/perfect",
            f"mctrack eval --benchmark folder --root videos --results {o}/perfect"), (), CAMERAS),
    ]


def measure(case: Case, data: Path, out: Path) -> Line:
    """Run a case's commands, write its own file, and return the combined figures of the last one."""
    report, markdown = out / f"{case.name}.json", RESULTS / f"{case.name}.md"
    table = out / f"{case.name}.md"
    for number, command in enumerate(case.commands):
        line = command
        if number == len(case.commands) - 1:
            line += f" --json {shlex.quote(str(report))} --markdown {shlex.quote(str(table))}"
        words = shlex.quote(sys.executable)
        line = f"{words} -m {line}" if command.startswith("mctrack ") else line.replace("python ", f"{words} ", 1)
        done = subprocess.run(["bash", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"{command}\nended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    figures = json.loads(report.read_text())["combined"]
    commands = [_anonymous(c, data, out) for c in case.commands]
    listed = "\n".join(commands)
    markdown.write_text(f"# {case.title}\n\n```\n{listed}\n```\n\n{_anonymous(table.read_text(), data, out)}")
    return Line(case.title, case.goal, commands, {k: figures[k] for k in case.shown if figures.get(k) is not None})


def _anonymous(text: str, data: Path, out: Path) -> str:
    """The folders are called DATA and OUT: nothing written tells where this machine keeps them."""
    return text.replace(str(data), "DATA").replace(str(out), "OUT")


def table(lines: dict[str, Line]) -> str:
    """The Markdown of ``run.md``: figures first, then the commands."""
    text = ["# What `mctrack` reaches", "",
            "Written by `python eval/reproduce.py`; ratios in %, IDSW as a count, GOSPA in metres; GP_*: on the floor.",
            "",
            "| what | " + " | ".join(COLUMNS) + " | goal |", "|:--" + "|--:" * len(COLUMNS) + "|:--|"]
    for line in lines.values():
        cells = [shown(k, line.figures.get(k)) for k in COLUMNS]
        text.append(f"| {line.title} | " + " | ".join(cells) + f" | {line.goal} |")
    for line in lines.values():
        commands = "\n".join(line.commands)
        text += ["", f"{line.title}:", "", f"```\n{commands}\n```"]
    return "\n".join(text) + "\n"


def shown(name: str, value: float | None) -> str:
    """A figure as it is printed; empty where a case is not about it."""
    if value is None:
        return ""
    return f"{value:.0f}" if name == "IDSW" else f"{value:.2f}" if name == "GOSPA" else f"{100 * value:.1f}"


def read_lines() -> dict[str, Line]:
    """What ``figures.json`` holds from earlier."""
    file = RESULTS / "figures.json"
    return {k: Line(**v) for k, v in json.loads(file.read_text()).items()} if file.is_file() else {}


def main() -> None:
    """Read the arguments, run what can be run, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(os.environ.get("MCTRACK_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=beside)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "reproduce")
    parser.add_argument("--only", default="", help="comma-separated names of cases; default: all")
    args = parser.parse_args()
    data, out = args.data.resolve(), args.out.resolve()
    every = cases(data, out)
    only = {n for n in args.only.split(",") if n} or {c.name for c in every}
    if unknown := only - {c.name for c in every}:
        raise SystemExit(f"--only: unknown {', '.join(sorted(unknown))}; known: {', '.join(c.name for c in every)}")
    if out.exists():
        raise SystemExit(f"{args.out} exists already: give a new --out")
    out.mkdir(parents=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = read_lines()
    for case in (c for c in every if c.name in only):
        if missing := [n for n in case.needs if not (data / n).exists()]:
            print(f"{case.name}: left out, {args.data} lacks {', '.join(missing)}", flush=True)
            continue
        kept[case.name] = measure(case, data, out)
        print(case.title, {k: round(v, 4) for k, v in kept[case.name].figures.items()}, flush=True)
        lines = {c.name: kept[c.name] for c in every if c.name in kept}  # written each time: a later case may fail
        written = {k: asdict(v) for k, v in lines.items()}
        (RESULTS / "figures.json").write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
        (RESULTS / "run.md").write_text(table(lines))


if __name__ == "__main__":
    main()
