"""``mctrack make-reid-data``: a finished run's people as a dataset to train an embedder on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np

    from mctrack.config import RunConfig
    from mctrack.sinks.reader import StoreReader
    from mctrack.sinks.schema import Boxes, CameraInfo
    from mctrack.video.spec import CameraSpec
    from reid_models.make_data import CropChoice


@click.command("make-reid-data")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write; new or empty.")
@click.option("--per-camera", type=click.IntRange(1), default=8, show_default=True,
              help="At most so many pictures of one person in one camera.")
@click.option("--gap-s", type=click.FloatRange(0), default=0.5, show_default=True, help="Seconds between two of them.")
@click.option("--min-quality", type=click.FloatRange(0, 1), default=0.3, show_default=True,
              help="Size, edges, people in front and the detector's certainty.")
@click.option("--min-height", type=click.FloatRange(1), default=48.0, show_default=True, help="Pixels.")
@click.option("--min-pictures", type=click.IntRange(1), default=2, show_default=True,
              help="People with fewer are left out.")
def make_reid_data_command(run: Path, out: Path, per_camera: int, gap_s: float, min_quality: float, min_height: float,
                           min_pictures: int) -> None:
    """Cut the people of RUN (a folder that mctrack run made) out of its videos, a folder for each.

    \b
    mctrack make-reid-data runs/latest --out my_people
    mctrack train-reid --recipe robust-reid --data my_people --dataset folder --out trained

    The identities are the tracker's; look through the folders and mend what is wrong (move or delete pictures).
    The videos must still be where they were.
    """  # noqa: D301
    from mctrack.errors import ConfigError
    from reid_models import ReidError
    from reid_models.make_data import CropChoice

    try:
        choice = CropChoice(per_camera, gap_s, min_quality, min_height, min_pictures)
        pictures, people, cameras = make_reid_data(run, out, choice)
    except ReidError as error:
        raise ConfigError(str(error)) from error
    click.echo(f"{out}: {pictures} pictures of {people} people in {cameras} cameras")


def make_reid_data(run: Path, out: Path, choice: CropChoice) -> tuple[int, int, int]:
    """Write the dataset; returns the numbers of pictures, people and cameras.

    Args:
        run: the run's folder, or its ``run.db``.
        out: folder to write, new or empty.
        choice: which sightings become pictures.

    Raises:
        OutputError: there is no such run.
        ConfigError: nobody in it is worth a picture.
        SourceError: a video is not there any more.
        ReidError: the folder cannot be written, or is not empty.
    """
    from mctrack.config import RunConfig, parse_config
    from mctrack.errors import ConfigError
    from mctrack.sinks.store import RunStore
    from mctrack.video.cameras import parse_cameras
    from reid_models.make_data import people_to_keep, prepare_folder

    database = run if run.is_file() else run / "run.db"
    with RunStore.open(database) as store:
        config = parse_config(RunConfig, store.meta["config_yaml"], str(database))
        found = {camera.name: _chosen(store, camera, choice) for camera in store.cameras()}
    keep = people_to_keep([boxes.global_id for boxes in found.values()], choice)
    if not keep:
        raise ConfigError(f"{run}: nobody has {choice.min_pictures} pictures that are good enough; lower "
                          "--min-quality, --min-height or --min-pictures")
    specs = {spec.name: spec for spec in parse_cameras(config.cams)}
    prepare_folder(out)
    pictures, cameras = 0, 0
    for name, boxes in found.items():
        if name not in specs or specs[name].live:
            click.echo(f"warning: camera '{name}' was live: its pictures are not there any more", err=True)
            continue
        written = _cut(specs[name], config, boxes, keep, out)
        pictures += written
        cameras += written > 0
    return pictures, sum(path.is_dir() for path in out.iterdir()), cameras


def _chosen(store: StoreReader, camera: CameraInfo, choice: CropChoice) -> Boxes:
    """The sightings of one camera that become pictures."""
    import numpy as np

    from reid_models.make_data import choose_crops

    boxes = store.boxes(camera.name)
    frame_index, time_s = store.frame_times(camera.name)
    when = time_s[np.searchsorted(frame_index, boxes.frame_index)]
    height = boxes.xyxy[:, 3] - boxes.xyxy[:, 1]
    rows = choose_crops(boxes.global_id, when, _quality(boxes, (camera.width, camera.height)), height, choice)
    return boxes.take(rows)


def _quality(boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
    """(n,) of every box, among all boxes of its frame."""
    import numpy as np

    from mctrack.embed import quality

    starts = np.flatnonzero(np.diff(boxes.frame_index, prepend=-1))
    parts = [quality(xyxy, score, size) for xyxy, score in
             zip(np.split(boxes.xyxy, starts[1:]), np.split(boxes.score, starts[1:]), strict=True)]
    return np.concatenate(parts) if len(boxes) else np.zeros(0)


def _cut(spec: CameraSpec, config: RunConfig, boxes: Boxes, keep: set[int], out: Path) -> int:
    """Read one video as far as needed and write its crops; returns how many."""
    from contextlib import closing
    from dataclasses import replace

    import numpy as np

    from mctrack.embed import cut_crops
    from mctrack.video.reader import open_source
    from reid_models.make_data import write_crop

    boxes = boxes.take(np.isin(boxes.global_id, list(keep)))
    if not len(boxes):
        return 0
    written, last = 0, int(boxes.frame_index.max())
    first = int(boxes.frame_index.min())
    with closing(open_source(spec, replace(config.video, max_frames=None), images_from=first)) as frames:
        for frame in frames:
            rows = np.flatnonzero(boxes.frame_index == frame.index)
            if len(rows) and frame.image is not None:
                for row, crop in zip(rows, cut_crops(frame.image, boxes.xyxy[rows]), strict=True):
                    if crop.size:
                        write_crop(out, int(boxes.global_id[row]), spec.name, frame.index, crop)
                        written += 1
            if frame.index >= last:
                break
    return written
