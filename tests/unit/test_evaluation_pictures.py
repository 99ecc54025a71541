"""Mistakes box by box, plots, films and pages: that they are written, hold what they must, and ask no network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mctrack.commands.eval import make_eval_command
from mctrack.commands.eval_film import film, moments
from mctrack.commands.eval_plots import timeline_plot
from mctrack.errors import MctrackError, SourceError
from mctrack.evaluation.clear import clear_counts, match
from mctrack.evaluation.mistakes import find_mistakes
from mctrack.evaluation.report import Details
from mctrack.evaluation.table import BoxTable, find_overlaps
from mctrack.video.writer import VideoWriter

PNG = b"\x89PNG\r\n\x1a\n"


def scene(seed: int, frames: int = 25, people: int = 5) -> Details:
    """Walkers, found with misses, false boxes and changed names."""
    rng = np.random.default_rng(seed)
    frame, who = np.repeat(np.arange(1, frames + 1), people), np.tile(np.arange(people), frames)
    corner = np.stack([30.0 * who + frame, np.full(len(frame), 30.0)], axis=1)
    gt = BoxTable.of(frame, who + 1, np.hstack([corner, corner + np.array([20, 40])]))
    seen = gt.take(rng.random(len(gt)) < 0.85)
    names = seen.track_id + 10 * (rng.random(len(seen)) < 0.1)
    stray = np.tile([200.0, 100.0, 215.0, 119.0], (3, 1))
    result = BoxTable.of(np.concatenate([seen.frame, [3, 3, 9]]), np.concatenate([names, [90, 91, 92]]),
                         np.concatenate([seen.xyxy + rng.normal(0, 1.5, seen.xyxy.shape), stray]))
    order = np.argsort(result.frame, kind="stable")
    result = result.take(order)
    return Details(gt, result, find_overlaps(gt, result), 0.5, 10.0)


@pytest.mark.parametrize("seed", range(5))
def test_mistakes_are_those_that_are_counted(seed: int) -> None:
    details = scene(seed)
    counts = clear_counts(details.overlaps, match(details.overlaps))
    mistakes = find_mistakes(details.overlaps)
    assert mistakes.missed.sum() == counts["FN"]
    assert mistakes.false.sum() == counts["FP"]
    assert mistakes.switched.sum() == counts["IDSW"] > 0
    shown = moments(details).values()
    totals = {k: sum(m.counts[k] for m in shown) for k in ("missed", "false", "switches")}
    assert totals == {"missed": counts["FN"], "false": counts["FP"], "switches": counts["IDSW"]}


def test_a_switch_knows_both_names() -> None:
    box = [[0.0, 0, 10, 10]] * 4
    gt, result = BoxTable.of([1, 2, 3, 4], [1] * 4, box), BoxTable.of([1, 2, 4], [5, 5, 6], box[:3])
    details = Details(gt, result, find_overlaps(gt, result), 0.5, 1.0)
    assert find_mistakes(details.overlaps).previous_id.tolist() == [-1, -1, -1, 5]
    assert {f: [m[2] for m in x.marks] for f, x in moments(details).items()} == {3: ["missed 1"], 4: ["1: 5 > 6"]}


def video(path: Path, frames: int = 25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = VideoWriter(path, (240, 160), 10.0)
    for k in range(frames):
        writer.write(np.full((160, 240, 3), 90, np.uint8), k / 10)
    writer.close()
    return path


def test_the_film_shows_frames_with_mistakes_only(tmp_path: Path) -> None:
    import av

    details = scene(0)
    line = film(details, video(tmp_path / "v.mp4"), "v", tmp_path / "out" / "v.mp4")
    wanted = moments(details)
    assert f"{len(wanted)} frames with mistakes" in line
    with av.open(str(tmp_path / "out" / "v.mp4")) as movie:
        pictures = [f.to_ndarray(format="bgr24") for f in movie.decode(video=0)]
    assert len(pictures) == len(wanted) + 1  # the last is held
    first = wanted[min(wanted)]
    (x0, y0, x1, _), colour, _ = first.marks[0]
    strip = pictures[0].shape[0] - 3 * 160
    edge = pictures[0][strip + round(3 * y0) + 20 : strip + round(3 * y0) + 60, round(3 * x0) - 1 : round(3 * x0) + 2]
    assert np.abs(edge.astype(float) - colour).sum(axis=2).min() < 120
    assert x1 > x0
    with pytest.raises(SourceError, match="no picture of the"):
        film(details, video(tmp_path / "short.mp4", min(wanted) - 1 or 1), "v", tmp_path / "none.mp4")


def test_no_mistakes_no_film(tmp_path: Path) -> None:
    gt = scene(0).gt
    perfect = Details(gt, gt, find_overlaps(gt, gt), 0.5, 10.0)
    assert "no mistakes" in film(perfect, video(tmp_path / "v.mp4", 3), "v", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_timelines_of_odd_sequences() -> None:
    empty = BoxTable.empty()
    many = BoxTable.of([1] * 60, list(range(60)), [[15.0 * i, 0, 15.0 * i + 10, 9] for i in range(60)])
    for gt, result in ((empty, empty), (empty, many), (many, empty)):
        assert timeline_plot(Details(gt, result, find_overlaps(gt, result), 0.5, 25.0), "t").startswith(PNG)


class Page(HTMLParser):
    """Collects tags and what they point to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    details = scene(1)
    for kind, table in (("gt", details.gt), ("run/tracks", details.result)):
        rows = np.column_stack([table.frame, table.track_id, table.xyxy[:, :2], table.xyxy[:, 2:] - table.xyxy[:, :2],
                                np.ones((len(table), 3))])
        (tmp_path / kind).mkdir(parents=True)
        for camera in ("cam1", "cam<2>"):
            np.savetxt(tmp_path / kind / f"{camera}.txt", rows, fmt="%.3f", delimiter=",")
    (tmp_path / "gt" / "cam3.txt").write_text("1,1,0,0,9,9,1\n")
    video(tmp_path / "cam1.mp4")
    return tmp_path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(make_eval_command(), [str(a) for a in arguments])
    if isinstance(result.exception, MctrackError):
        return 2, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def test_pictures_films_and_page_of_a_report(scored: Path) -> None:
    out = scored / "look"
    code, text = call("--benchmark", "folder", "--root", scored, "--results", scored / "run", "--html", out / "p.html",
                      "--pictures", out / "pictures", "--mistakes", out / "films")
    assert code == 1  # cam3 has no results
    assert {p.name for p in (out / "pictures").iterdir()} == {
        f"{c}_{k}.png" for c in ("cam1", "cam<2>") for k in ("hota", "identities")}
    assert (out / "films" / "cam1.mp4").stat().st_size > 1000
    assert "cam<2>: no film:" in text
    html = (out / "p.html").read_text()
    page = Page()
    page.feed(html)
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "cam&lt;2&gt;" in html
    assert "cam<2>" not in html
    assert re.search(r'class="gap">not scored: cam3', html)
    assert page.tags.count("table") == 2


def test_page_of_a_comparison(scored: Path) -> None:
    code, _ = call("--benchmark", "folder", "--root", scored, "--compare", f"results={scored / 'run'},{scored / 'gt'}",
                   "--sequences", "cam1", "--html", scored / "c.html", "--pictures", scored / "pictures")
    assert code == 0
    page = Page()
    page.feed((scored / "c.html").read_text())
    assert page.tags.count("table") == 4  # totals, differences, one of each run
    assert page.tags.count("img") == 5  # HOTA over α, HOTA and IDF1 by sequence, one timeline of each run
    assert sorted(p.name for p in (scored / "pictures").iterdir()) == ["gt", "run"]
    code, text = call("--benchmark", "folder", "--root", scored, "--results", scored / "run", "--html",
                      scored / "cam1.mp4" / "page.html")
    assert code == 2
    assert "cannot be written" in text
