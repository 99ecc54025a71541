"""The scripts of ``eval/``: what they would run parses, what they write is in order."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from eval_script import load_script

ROOT = Path(__file__).resolve().parents[2]


def test_every_command_of_reproduce_parses(tmp_path: Path) -> None:
    """Options exist and benchmarks load; last commands take ``--json`` and ``--markdown`` besides."""
    from mctrack.cli import cli
    from mctrack.evaluation.benchmark import load_benchmark

    cases = load_script("reproduce").cases(tmp_path / "data", tmp_path / "out")
    assert len({c.name for c in cases}) == len(cases) > 8
    for case in cases:
        for command in case.commands:
            words = shlex.split(command)
            if words[0] == "python":
                assert (ROOT / words[1]).is_file()
                continue
            found: click.Command | None = cli
            while isinstance(found, click.Group):
                words = words[1:]
                found = found.get_command(click.Context(found), words[0])
            assert found is not None
            context = found.make_context(words[0], words[1:])
            if context.params.get("benchmark"):
                assert load_benchmark(context.params["benchmark"]).name == context.params["benchmark"]
        assert case.commands[-1].startswith("mctrack eval ")


def test_the_readme_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    table = load_script("readme_table")
    lines = {
        "a": table.Line("tracking", "", [], {"MOTA": 0.5, "IDF1": 0.25, "HOTA": 0.125, "IDSW": 3, "GP_MOTA": 0.75}),
        "b": table.Line("positions", "", [], {"MODA": 0.875, "GOSPA": 1.25}),
    }
    monkeypatch.setattr(table, "read_lines", lambda: lines)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["readme_table", "--check", "--readme", str(readme)])
    with pytest.raises(SystemExit) as caught:
        table.main()
    assert caught.value.code
    monkeypatch.setattr(sys, "argv", ["readme_table", "--readme", str(readme)])
    table.main()
    text = readme.read_text()
    assert text.startswith(f"before\n{table.BEGIN}\n|")
    assert text.endswith(f"{table.END}\nafter\n")
    assert "| tracking | 50.0 | 25.0 | 12.5 |  |" in text
    assert "tracking, within a metre on the floor: MOTA 75.0." in text
    assert "positions: MODA 87.5, GOSPA 1.25." in text
    assert "old" not in text
    monkeypatch.setattr(sys, "argv", ["readme_table", "--check", "--readme", str(readme)])
    with pytest.raises(SystemExit) as caught:
        table.main()
    assert caught.value.code == 0
    with pytest.raises(SystemExit, match="needs <!-- results:begin -->"):
        table.updated("no markers", "x")


def test_the_readme_shows_the_figures_that_were_measured_last() -> None:
    table, readme = load_script("readme_table"), (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.updated(readme, table.readme_table(table.read_lines())) == readme, "run python eval/readme_table.py"


def test_what_is_written_names_no_machine() -> None:
    for path in (ROOT / "eval" / "results").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "/home/" not in text, path
        assert str(ROOT) not in text, path
    figures = ROOT / "eval" / "results" / "figures.json"
    kept = {k: v["title"] for k, v in json.loads(figures.read_text(encoding="utf-8")).items()}
    known = {c.name: c.title for c in load_script("reproduce").cases(Path("d"), Path("o"))}
    assert kept.items() <= known.items(), "eval/results/figures.json is older than eval/reproduce.py"


def test_positions_from_seven_cameras() -> None:
    """Feet of different cameras near each other are one person; of one camera they never are; one camera is too few."""
    fuse = load_script("wildtrack_positions").fuse
    xy_m = np.array([[0.0, 0], [0.2, 0], [0.1, 0.3], [5, 5], [5.1, 5], [9, 9]])
    found = fuse(xy_m, np.array([0, 1, 2, 0, 0, 1]))
    np.testing.assert_allclose(found, [[0.1, 0.1]])
    assert fuse(np.zeros((0, 2)), np.zeros(0, int)).shape == (0, 2)


def test_feet_go_through_the_homography() -> None:
    ground_to_image = np.array([[2.0, 0, 10], [0, 4, 20], [0, 0, 1]])
    found = load_script("wildtrack_positions").feet_on_ground(np.array([[100.0, 50, 20, 170]]), ground_to_image)
    np.testing.assert_allclose(found, [[(110 - 10) / 2 / 100, (220 - 20) / 4 / 100]])


def test_peers_are_measured_alike(tmp_path: Path) -> None:
    """A 'tracker' that knows the answer scores 100 through the same path as the public ones; ours is there too."""
    peers = load_script("bench_peers")
    folder = tmp_path / "S-1"
    (folder / "gt").mkdir(parents=True)
    (folder / "det").mkdir()
    rows = [f"{f},{{i}},{50 + 3 * f + 300 * i},100,40,100,{{s}},1,1\n" for f in range(1, 31) for i in (1, 2)]
    order = [i for _ in range(30) for i in (1, 2)]
    (folder / "gt" / "gt.txt").write_text("".join(r.format(i=i, s=1) for r, i in zip(rows, order, strict=True)))
    (folder / "det" / "det.txt").write_text("".join(r.format(i=-1, s=0.9) for r in rows))
    info = "[Sequence]\nname=S-1\nseqLength=30\nframeRate=30\nimWidth=1920\nimHeight=1080\n"
    (folder / "seqinfo.ini").write_text(info)
    benchmark = peers.load_benchmark("mot17")
    sequences = peers.read_sequences(benchmark, tmp_path, ())
    knows = peers.Peer("knows", "x", lambda fps: lambda xyxy, score: (xyxy, (xyxy[:, 0] > 500).astype(int)))
    row = peers.measure("knows", "x", lambda s: peers.run_peer(knows, s), sequences, benchmark)
    assert row[2:7] == ["100.0"] * 5
    ours = peers.measure("mctrack", "mctrack", lambda s: peers.run_ours(s, 0.0), sequences, benchmark)
    assert float(ours[2]) > 90
    head, rule, *body = peers.table([row, ours]).splitlines()
    assert len({line.count("|") for line in (head, rule, *body)}) == 1


@pytest.mark.parametrize("package", ["ultralytics", "trackers", "boxmot"])
def test_public_trackers_run_where_they_are_installed(package: str) -> None:
    if package in ("ultralytics", "boxmot"):
        pytest.importorskip("lap")  # they need it, but do not bring it along
    pytest.importorskip(package)
    peers = load_script("bench_peers")
    step = next(p for p in peers.peers() if p.package == package).make(30.0)
    reported = [step(np.array([[10.0 + k, 10, 50 + k, 110]]), np.array([0.9])) for k in range(10)]
    boxes, names = reported[-1]
    assert boxes.shape == (1, 4)
    assert names.shape == (1,)
    np.testing.assert_allclose(boxes[0], [19, 10, 59, 110], atol=5)


def test_a_floor_turned_and_shifted_is_the_same_floor() -> None:
    """``calibrate_site``: a turn and a shift count for nothing; a camera 10 % too low has a floor 10 % too small."""
    from dataclasses import replace

    from mctrack.geometry.calibrate_people import Pose
    from mctrack.geometry.site import Site

    size, pose = (640, 480), Pose(0.6, 0.4, 0.0, 3.0)
    true = Site(Path("site.yaml"), ("a",), {"a": pose.camera(size)}, {"a": size})
    floor = np.stack(np.meshgrid(np.arange(-1.0, 1.5, 0.5), np.arange(4.0, 7.0, 0.5)), axis=-1).reshape(-1, 2)
    errors = load_script("calibrate_site").errors
    for changed, scale in ((replace(pose, yaw=1.0, x_m=5.0), 1.0), (replace(pose, height_m=2.7), 0.9)):
        off = errors(true, replace(true, cameras={"a": changed.camera(size)}), floor)["a"]
        away = np.linalg.norm(floor - floor.mean(axis=0), axis=1)
        np.testing.assert_allclose(off, (1 - scale) * away, atol=1e-6)
