"""``mctrack calibrate``: from points, from people, and clocks; each writes a site file and says what it is worth."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np

    from mctrack.geometry.calibrate_people import PeopleBoxes
    from mctrack.geometry.calibrate_points import PointsFit
    from mctrack.geometry.calibrate_sync import Walks

_LARGEST = (1e6, 1e9)
"""No pixel, and no place in any unit, is further from 0."""


class _FloatRange(click.FloatRange):
    """A range that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or a click error."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@click.group()
def calibrate() -> None:
    """Get a calibration: from floor points, or from people walking; and find clocks' offsets."""


@calibrate.command()
@click.argument("camera")
@click.option("--points", "points_file", required=True, metavar="CSV",
              help="Rows 'u,v,x,y': a pixel, and its place on the floor. A header line is skipped.")
@click.option("--picture", required=True, metavar="FILE", help="A picture or video of the camera.")
@click.option("--unit", default="m", show_default=True, help="Of x and y: m, cm, mm, in, ft, or metres per unit.")
@click.option("--threshold", type=_FloatRange(0, 1000, min_open=True), default=0.2, show_default=True,
              help="Metres on the floor within which a point is right.")
@click.option("--grid", "grid_m", type=_FloatRange(0.01, 1000), default=1.0, show_default=True,
              help="Distance of the drawn grid's lines, metres.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of RANSAC's samples.")
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Folder for CAMERA.yaml and CAMERA_grid.jpg.")
def points(camera: str, points_file: str, picture: str, unit: str, threshold: float, grid_m: float, seed: int,
           out_dir: str) -> None:
    """Find a camera's floor from pairs of pixels and floor points (four or more; six to ten are better)."""
    import numpy as np

    from mctrack.errors import ConfigError
    from mctrack.geometry.calibrate_points import fit_points
    from mctrack.geometry.readers import unit_in_m
    from mctrack.video.cameras import clean_name

    if clean_name(camera) != camera:
        raise ConfigError(f"camera name '{camera}' cannot be used as a file name: choose one of letters and digits")
    image = _picture(picture)
    size = (image.shape[1], image.shape[0])
    pairs = _read_points(Path(points_file))
    pairs[:, 2:] *= unit_in_m(float(unit) if _is_number(unit) else unit, "--unit")
    found = fit_points(pairs[:, :2], pairs[:, 2:], size, f"camera '{camera}'", np.random.default_rng(seed), threshold)
    out = Path(out_dir)
    _write_site(out / f"{camera}.yaml", {camera: {
        "homography": [[float(f"{v:.10g}") for v in row] for row in found.homography / found.homography[2, 2]],
        "direction": "image_to_ground", "size": list(size),
    }})  # fmt: skip
    _draw_grid(out / f"{camera}_grid.jpg", image, found, pairs, grid_m)
    _tell_points(found, pairs, size)
    click.echo(f"calibration in {out / f'{camera}.yaml'}; compare {out / f'{camera}_grid.jpg'} with the floor")


@calibrate.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--truth", is_flag=True, help="RUN holds ground truth (gt/<camera>.txt and .ini) instead of a run.")
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Folder for calibration.json.")
def people(run_dir: str, truth: bool, out_dir: str) -> None:
    """Find cameras from the people in a run: focal length, tilt, height, and where they stand to one another.

    People must be seen standing, near and far; cameras that share people end up on one floor.
    """
    import numpy as np

    from mctrack.geometry.calibrate_together import calibrate_people
    from mctrack.sinks.files import write_text

    boxes = _boxes(Path(run_dir), truth)
    found = calibrate_people(boxes)
    tree: dict[str, Any] = {"units": "m", "cameras": {}}
    for name, camera in found.cameras.items():
        model = camera.pose.camera(boxes[name].size)
        tree["cameras"][name] = {
            "image_size": list(boxes[name].size), "K": model.K.tolist(), "dist": model.dist.tolist(),
            "R": model.R.tolist(), "t": model.t.tolist(),
        }  # fmt: skip
        p, sd = camera.pose, camera.sd
        click.echo(f"{name}: focal length {p.focal * boxes[name].size[0]:.0f} px ± {100 * sd[0]:.0f}%, tilt "
                   f"{np.degrees(p.tilt):.1f}° ± {np.degrees(sd[1]):.1f}°, roll {np.degrees(p.roll):.1f}° ± "
                   f"{np.degrees(sd[2]):.1f}°, {p.height_m:.2f} m ± {100 * sd[3]:.0f}% above the floor; "
                   f"{camera.boxes} boxes, people's heights agree within {100 * camera.height_rms:.1f}%")
    for floor in found.floors:
        if len(floor) > 1:
            parts = (f"{n} {found.disagreement_m[n]:.2f} m ({100 * found.support[n]:.0f}% of people)" for n in floor)
            click.echo("one floor, median distance of the same person's places: " + ", ".join(parts))
        else:
            click.echo(f"{floor[0]} shares too few people with the others: it has a floor of its own")
    import json

    if len(found.floors) > 1:
        click.echo("cameras of different floors must not be in one site file: a calibration for each floor is written")
    for k, floor in enumerate(found.floors):
        name = "calibration.json" if len(found.floors) == 1 else f"calibration{k + 1}.json"
        part = {"units": "m", "cameras": {n: tree["cameras"][n] for n in floor}}
        write_text(Path(out_dir) / name, json.dumps(part, indent=1) + "\n")
        click.echo(f"calibration in {Path(out_dir) / name}: use it with mctrack run --calib")


@calibrate.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--truth", is_flag=True, help="RUN holds ground truth (gt/<camera>.txt and .ini) instead of a run.")
@click.option("--calib", metavar="FILE", help="Calibration: places are compared; without, amounts of motion.")
@click.option("--max-offset", type=_FloatRange(0, 3600, min_open=True), default=5.0, show_default=True,
              help="Seconds tried, both ways.")
def sync(run_dir: str, truth: bool, calib: str | None, max_offset: float) -> None:
    """Find how far the cameras' clocks are apart: seconds for video.offset_s, against the first camera."""
    from mctrack.errors import ConfigError
    from mctrack.geometry.calibrate_sync import sync_on_floor, sync_on_motion

    boxes = _boxes(Path(run_dir), truth)
    tracks = _walks(boxes, calib)
    if len(tracks) < 2:
        raise ConfigError(f"{run_dir}: clocks are compared between cameras; people are seen in {len(tracks)} of them")
    first, *others = tracks
    click.echo(f"{first}: 0 s (the reference)")
    for name in others:
        step_s = min(_interval(boxes[first]), _interval(boxes[name]))
        find = sync_on_motion if calib is None else sync_on_floor
        found = find(tracks[first], tracks[name], max_offset, step_s)
        doubt = "; no clear optimum: do not trust it" if found.contrast < 0.1 or found.sd_s > 5 * step_s else ""
        click.echo(f"{name}: {found.offset_s:+.3f} s ± {found.sd_s:.3f} s ({abs(found.offset_s) / step_s:.1f} frames, "
                   f"contrast {found.contrast:.2f}){doubt}")


# ---------------------------------------------------------------------- reading


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_points(path: Path) -> np.ndarray:
    """(n, 4) numbers u, v, x, y of a CSV."""
    import numpy as np

    from mctrack.errors import ConfigError

    rows = []
    for number, cells in enumerate(_cells(path), 1):
        if not cells or cells[0].lstrip().startswith("#") or (number == 1 and not _is_number(cells[0])):
            continue
        if len(cells) != 4 or not all(map(_is_number, cells)):
            raise ConfigError(f"--points: {path} line {number}: expected u,v,x,y (pixel, and place on the floor)")
        row = [float(c) for c in cells]
        if not all(abs(v) <= largest for v, largest in zip(row, np.repeat(_LARGEST, 2), strict=True)):  # nor NaN
            raise ConfigError(f"--points: {path} line {number}: {', '.join(cells)}: pixels must be finite and within "
                              f"±{_LARGEST[0]:g}, places within ±{_LARGEST[1]:g}")
        rows.append(row)
    return np.array(rows, float).reshape(-1, 4)


def _cells(path: Path) -> list[list[str]]:
    from mctrack.errors import ConfigError
    from mctrack.geometry.readers import read_text

    try:
        return list(csv.reader(read_text(path, "--points").splitlines()))
    except csv.Error as error:
        raise ConfigError(f"--points: {path} is no CSV: {error}") from error


def _picture(path: str) -> np.ndarray:
    """The first picture of an image or video."""
    import av

    from mctrack.errors import SourceError

    try:
        with av.open(path) as container:
            return next(container.decode(video=0)).to_ndarray(format="bgr24")
    except (OSError, StopIteration, IndexError, av.error.FFmpegError) as error:
        raise SourceError(f"--picture: {path} cannot be read as a picture or video") from error


def _boxes(folder: Path, truth: bool) -> dict[str, PeopleBoxes]:
    """Camera → its boxes, of a run's database or of ground truth."""
    from mctrack.errors import ConfigError

    found = _truth_boxes(folder) if truth else _run_boxes(folder)
    for name in [name for name, boxes in found.items() if not len(boxes.track)]:
        click.echo(f"{name}: no boxes of people, left out", err=True)
        del found[name]
    if not found:
        raise ConfigError(f"{folder} holds no boxes of people")
    return found


def _run_boxes(folder: Path) -> dict[str, PeopleBoxes]:
    import numpy as np

    from mctrack.folder import STORE_FILE
    from mctrack.geometry.calibrate_people import PeopleBoxes
    from mctrack.sinks.store import RunStore

    out = {}
    with RunStore.open(folder / STORE_FILE) as store:
        for camera in store.cameras():
            boxes = store.boxes(camera.name)
            frame, time_s = store.frame_times(camera.name)
            when = time_s[np.searchsorted(frame, boxes.frame_index)]
            out[camera.name] = PeopleBoxes(boxes.xyxy, boxes.track_id, when, (camera.width, camera.height))
    return out


def _truth_boxes(folder: Path) -> dict[str, PeopleBoxes]:
    from mctrack.errors import ConfigError
    from mctrack.evaluation.motchallenge import read_ground_truth, read_seqinfo
    from mctrack.geometry.calibrate_people import PeopleBoxes

    out = {}
    for path in sorted((folder / "gt").glob("*.txt")):
        table, ini = read_ground_truth(path), path.with_suffix(".ini")
        table = table.take((table.visibility >= 0.5) | (table.visibility < 0))  # below 0: the file does not say
        if not ini.is_file():
            raise ConfigError(f"{ini} is missing: it says frame rate and size")
        info = read_seqinfo(ini)
        if info.fps is None or math.isinf(info.fps) or info.size is None or min(info.size) < 1:
            raise ConfigError(f"{ini}: frameRate, imWidth and imHeight must be there and be numbers above 0")
        out[path.stem] = PeopleBoxes(table.xyxy, table.track_id, _stamps(path, table.frame, info.fps), info.size)
    return out


def _stamps(truth: Path, frames: np.ndarray, rate: float) -> np.ndarray:
    """Seconds from a clip's first frame, by the camera's own clock: where frames are lost, a file beside tells them."""
    import numpy as np

    from mctrack.errors import ConfigError
    from mctrack.evaluation.text import read_columns

    path = truth.with_name(f"{truth.stem}_times.csv")
    if not path.is_file():
        return np.asarray((frames - 1) / rate)
    columns = ("frame", "stamp_s", "time_s")
    table = read_columns(path, columns, columns)
    table.refuse_common()
    stamp = table.values.get("stamp_s", np.zeros(0))
    if len(stamp) < frames.max(initial=0):
        raise ConfigError(f"{path}: expected {','.join(columns)} for every frame of {truth.name}")
    return np.asarray((stamp - stamp[:1])[frames - 1])


def _interval(boxes: PeopleBoxes) -> float:
    """Seconds between frames."""
    import numpy as np

    return float(np.median(np.diff(np.unique(boxes.time_s)))) if len(np.unique(boxes.time_s)) > 1 else 0.1


def _walks(boxes: dict[str, PeopleBoxes], calib: str | None) -> dict[str, Walks]:
    """Tracks on the floor, or in pixels over box heights where that is not known."""
    import numpy as np

    from mctrack.geometry.calibrate_sync import Walks
    from mctrack.geometry.foot import stand
    from mctrack.geometry.site import load_site, match_names

    if calib is None:
        out = {}
        for name, b in boxes.items():
            middle = (b.xyxy[:, :2] + b.xyxy[:, 2:]) / 2
            out[name] = Walks(b.time_s, b.track, middle / np.median(b.xyxy[:, 3] - b.xyxy[:, 1]))
        return out
    site = load_site(calib, {n: b.size for n, b in boxes.items()})
    found = {}
    for name in match_names(site, list(boxes)):
        b = boxes[name]
        places = stand(site.cameras[name], b.xyxy, b.size)
        good = np.isfinite(places.xy).all(axis=1)
        if good.any():
            found[name] = Walks(b.time_s[good], b.track[good], places.xy[good])
    return found


# ---------------------------------------------------------------------- writing


def _write_site(path: Path, cameras: dict[str, Any]) -> None:
    import yaml

    from mctrack.sinks.files import write_text

    write_text(path, yaml.safe_dump({"unit": "m", "cameras": cameras}, sort_keys=False, default_flow_style=None))


def _draw_grid(path: Path, image: np.ndarray, found: PointsFit, pairs: np.ndarray, step_m: float) -> None:
    """The floor's grid over the picture, with every point where it was and where the floor has it."""
    import cv2
    import numpy as np

    from mctrack.geometry.calibrate_points import grid_lines
    from mctrack.sinks.files import replacing

    size = (image.shape[1], image.shape[0])
    for line in grid_lines(found.camera, size, step_m):
        cv2.polylines(image, [np.round(line).astype(np.int32)], False, (255, 200, 0), 1, cv2.LINE_AA)
    again = found.camera.to_image(np.column_stack([pairs[:, 2:], np.zeros(len(pairs))]))
    for pixel, fitted, good in zip(pairs[:, :2], again, found.inlier, strict=True):
        colour = (0, 200, 0) if good else (0, 0, 255)
        cv2.circle(image, tuple(int(v) for v in np.round(pixel)), 5, colour, 2, cv2.LINE_AA)
        if (np.abs(fitted) < _LARGEST[0]).all():
            ends = [tuple(int(v) for v in np.round(p)) for p in (pixel, fitted)]
            cv2.line(image, ends[0], ends[1], colour, 1, cv2.LINE_AA)
    good, coded = cv2.imencode(".jpg", image)
    assert good
    with replacing(path) as temporary:
        temporary.write_bytes(coded.tobytes())


def _tell_points(found: PointsFit, pairs: np.ndarray, size: tuple[int, int]) -> None:
    """Every point's residual, and how sure the floor is."""
    import numpy as np

    from mctrack.geometry.cameras import picture_points

    for (u, v, x, y), residual, good in zip(pairs.tolist(), found.residual_m.tolist(), found.inlier.tolist(),
                                            strict=True):
        note = "" if good else "   left out"
        click.echo(f"  ({u:.1f}, {v:.1f}) ↔ ({x:.2f}, {y:.2f}) m: {100 * residual:.1f} cm{note}")
    where = picture_points(size)
    where = where[np.isfinite(found.camera.to_ground(where)).all(axis=1)]
    sd = found.sd_m(where)
    if np.isnan(sd).any():
        click.echo("four points fit any floor exactly: how sure it is cannot be told; add points")
    else:
        click.echo(f"median residual {100 * float(np.median(found.residual_m[found.inlier])):.1f} cm; places in the "
                   f"picture's lower half are sure to ± {100 * float(np.median(sd)):.1f} cm (median), "
                   f"± {100 * float(sd.max()):.1f} cm (worst)")
