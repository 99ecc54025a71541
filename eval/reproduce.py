"""Run every command behind the figures of ``mctrack run`` and write them, with the commands, to a Markdown table.

    python eval/reproduce.py --data DIR --out runs/reproduce --markdown eval/results/run.md

``--data`` is a folder with ``pets09_s2l1`` (vtest.avi, gt.txt, gt_reentry.txt), ``mot17`` (sequences with public FRCNN
detections and ground truth) and ``weights/yolox_nano.onnx``; see eval/README.md. Takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SHOWN = ("MOTA", "IDF1", "HOTA", "IDSW", "MC_IDF1")


@dataclass(frozen=True)
class Case:
    """One line of the table: what it shows, the commands (the last one scores, with ``--json``), what was asked."""

    title: str
    commands: tuple[str, ...]
    bar: str


def cases(data: Path, out: Path) -> list[Case]:
    """All cases, with paths filled in."""
    d, o = shlex.quote(str(data)), shlex.quote(str(out))
    pets, yolox = f"{d}/pets09_s2l1", f"--detector onnx --weights {d}/weights/yolox_nano.onnx"
    score = f"mctrack eval --gt {pets}/{{gt}}.txt --gt-scale 0.625 --results {o}/{{run}}/tracks/vtest.txt"
    return [
        Case("PETS09-S2L1, YOLOX-nano, motion only", (
            f"mctrack run --cams {pets}/vtest.avi {yolox} --reid none --no-video --out {o}/motion",
            score.format(gt="gt", run="motion")), "MOTA ≥ 78, IDF1 ≥ 70, HOTA ≥ 52"),
        Case("the same, one identity a person over all absences, default embedder", (
            f"mctrack run --cams {pets}/vtest.avi {yolox} --no-video --out {o}/reentry",
            score.format(gt="gt_reentry", run="reentry")), "IDF1 ≥ 55"),
        Case("MOT17-02, 09, 10, 13, public FRCNN detections, motion only", (
            f"mctrack eval --benchmark mot17 --root {d}/mot17 --out {o}/mot17",), "HOTA ≥ 43.0, IDF1 ≥ 49.2"),
        Case("PETS09-S2L1 cut in two cameras sharing a fifth, one 1.3 s late", (
            f"python eval/split_clip.py --video {pets}/vtest.avi --gt {pets}/gt_reentry.txt --gt-scale 0.625 "
            f"--out {o}/split",
            f"mctrack run --cams {o}/split/left.mp4 {o}/split/right.mp4 --set 'video.offset_s={{right: 1.3}}' {yolox} "
            f"--no-video --out {o}/split/run",
            f"mctrack eval --benchmark folder --root {o}/split --results {o}/split/run"), ""),
        Case("sample clips, nothing fetched (embedded detector, histogram)", (
            f"mctrack run --cams videos/cam*.mp4 --out {o}/clips",
            f"mctrack eval --benchmark folder --root videos --results {o}/clips"), ""),
        Case("sample clips, perfect boxes (what identities alone cost)", (
            f"mctrack run --cams videos/cam*.mp4 --detector file --weights videos/gt --no-video --out {o}/perfect",
            f"mctrack eval --benchmark folder --root videos --results {o}/perfect"), ""),
    ]


def measure(case: Case, scratch: Path) -> dict[str, float]:
    """Run a case's commands and return the combined figures of the last one."""
    report = scratch / "report.json"
    for number, command in enumerate(case.commands):
        last = number == len(case.commands) - 1
        line = command.replace("mctrack ", f"{shlex.quote(sys.executable)} -m mctrack ", 1)
        line = line.replace("python ", f"{shlex.quote(sys.executable)} ", 1) if command.startswith("python ") else line
        line += f" --json {shlex.quote(str(report))}" if last else ""
        done = subprocess.run(["bash", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{command}\nended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    figures = json.loads(report.read_text())["combined"]
    return {k: figures[k] for k in SHOWN if figures.get(k) is not None}


def table(rows: list[tuple[Case, dict[str, float]]], data: Path, out: Path) -> str:
    """The Markdown: figures first, then the commands; the folders are called DATA and OUT."""
    lines = ["# What `mctrack run` reaches", "",
             "Written by `python eval/reproduce.py`; all figures in %, IDSW as a count.", ""]
    lines += ["| what | " + " | ".join(SHOWN) + " | goal |", "|---" * (len(SHOWN) + 2) + "|"]
    for case, figures in rows:
        cells = [_cell(k, figures.get(k)) for k in SHOWN]
        lines.append(f"| {case.title} | " + " | ".join(cells) + f" | {case.bar} |")
    lines.append("")
    for case, _ in rows:
        commands = "\n".join(case.commands).replace(str(data), "DATA").replace(str(out), "OUT")
        lines += [f"{case.title}:", "", "```", commands, "```", ""]
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if name == "IDSW" else f"{100 * value:.1f}"


def main() -> None:
    """Read the arguments, run everything, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"))
    parser.add_argument("--markdown", type=Path, default=Path("eval/results/run.md"))
    args = parser.parse_args()
    if args.out.exists():
        raise SystemExit(f"{args.out} exists already: give a new --out")
    args.out.mkdir(parents=True)
    rows = []
    for case in cases(args.data, args.out):
        figures = measure(case, args.out)
        print(case.title, {k: round(v, 4) for k, v in figures.items()}, flush=True)
        rows.append((case, figures))
    args.markdown.parent.mkdir(parents=True, exist_ok=True)
    args.markdown.write_text(table(rows, args.data, args.out))


if __name__ == "__main__":
    main()
