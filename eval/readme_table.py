"""Put the table of measured figures into the README, between its two markers.

    python eval/readme_table.py [--check]

Reads ``eval/results/figures.json``, which ``eval/reproduce.py`` wrote; ``--check`` changes nothing and exits with 1
where the README shows anything else. The markers are ``<!-- results:begin -->`` and ``<!-- results:end -->``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from reproduce import Line, read_lines, shown

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
COLUMNS = {"MOTA": "MOTA", "IDF1": "IDF1", "HOTA": "HOTA", "MC_IDF1": "IDF1 across cameras (MC_IDF1)"}


def readme_table(lines: dict[str, Line]) -> str:
    """One row per case that tracks; positions on the ground stand in words, since they have other figures."""
    rows = ["| | " + " | ".join(COLUMNS.values()) + " |", "|:--" + "|--:" * len(COLUMNS) + "|"]
    words = []
    for line in lines.values():
        if "MOTA" in line.figures:
            rows.append(f"| {line.title} | " + " | ".join(shown(k, line.figures.get(k)) for k in COLUMNS) + " |")
            floor = {k: v for k, v in line.figures.items() if k.startswith("GP_")}
            if floor:
                said = ", ".join(f"{k.removeprefix('GP_')} {shown(k, v)}" for k, v in floor.items())
                words.append(f"{line.title}, within a metre on the floor: {said}.")
        else:
            words.append(f"{line.title}: " + ", ".join(f"{k} {shown(k, v)}" for k, v in line.figures.items()) + ".")
    return "\n".join([*rows, *([""] if words else []), *words])


def updated(readme: str, text: str) -> str:
    """The README with the text between its markers.

    Raises:
        SystemExit: the markers are not there, once each and in order.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise SystemExit(f"README.md needs {BEGIN} and, below it, {END}, once each")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    """Write the README, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    args = parser.parse_args()
    old = args.readme.read_text(encoding="utf-8")
    new = updated(old, readme_table(read_lines()))
    if args.check:
        sys.exit(0 if new == old else f"{args.readme} is not what eval/readme_table.py writes")
    args.readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
