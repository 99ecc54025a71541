"""What a camera does to its pictures: motion blur, breathing exposure, vignetting, compression; and wrong values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mctrack.errors import ConfigError
from mctrack.synth import world
from mctrack.synth.clock import SUBFRAMES, exposure_times
from mctrack.synth.figure import Figure
from mctrack.synth.gait import Pose
from mctrack.synth.identity import sample_people
from mctrack.synth.scene import CAMERA_RANGES, Area, CameraConfig, Door, Habits, SceneConfig, load_scene
from mctrack.synth.view import View

ROOM = Area("room", (0.0, 0.0), (5.0, 4.0), brightness=0.7, doors=[Door("door", "north", 2.5)])
EYE = CameraConfig("eye", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (96, 64), 5.0, noise=0, blur_px=0)
YAML = """
areas: [{name: room, origin: [0, 0], size: [4, 4], doors: [{name: door, wall: north, at_m: 2.0}]}]
cameras:
  - {name: a, area: room, position: [0.2, 0.2, 2.4], look_at: [2.5, 2.5, 0.9], KEY}
"""


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    people, _ = sample_people(2, np.random.default_rng(4), 0)
    return [Figure(p) for p in people]


def walking(time_s: float) -> dict[int, Pose]:
    """One walks fast across the picture, the other stands in front of it."""
    across = Pose(3.4 - 1.5 * time_s, 2.0 + 1.5 * time_s, 2.4, 1.1 * time_s, 2.1)
    return {0: across, 1: Pose(2.2, 1.9, 0.0, 0.0, 0.0)}


def shoot(view: View, figures: list[Figure], time_s: float, others: list[dict[int, Pose]]) -> NDArray[np.float64]:
    picture, _ = view.picture(figures, walking(time_s), time_s=time_s, others=others)
    assert picture is not None
    return picture.astype(float)


def test_exposure_times_are_around_the_frame() -> None:
    assert exposure_times(EYE, 1.0) == []
    times = exposure_times(replace(EYE, motion_blur=0.5), 1.0)
    assert len(times) == SUBFRAMES - 1
    assert np.mean(times) == pytest.approx(1.0)
    assert max(times) - min(times) == pytest.approx(0.1 * (1 - 1 / SUBFRAMES))
    assert min(exposure_times(replace(EYE, motion_blur=1.0), 0.0)) == 0.0


def test_motion_blur_is_the_mean_of_the_moments(figures: list[Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(EYE, ROOM, 0)
    # Shadows are those of the frame's own time in the blurred picture: out of this comparison.
    monkeypatch.setattr(view._shadows, "factors", lambda skeletons: (np.ones((64, 96, 1), np.float32),) * 2)
    times = exposure_times(replace(EYE, motion_blur=1.0), 0.6)
    sharp = [shoot(view, figures, t, []) for t in [*times, 0.6]]
    blurred = shoot(view, figures, 0.6, [walking(t) for t in times])
    assert max(s.max() for s in sharp) < 255, "a clipped pixel has another mean"
    np.testing.assert_allclose(blurred, np.mean(sharp, axis=0), atol=1.0)
    assert (np.abs(blurred - sharp[-1]) > 8).sum() > 100, "and it is not the sharp picture"
    np.testing.assert_array_equal(view.picture(figures, walking(0.6), False, 0.6, [walking(0.0)])[1],
                                  view.picture(figures, walking(0.6), False, 0.6)[1])  # fmt: skip


def test_who_stands_still_stays_sharp(figures: list[Figure]) -> None:
    view = View(EYE, ROOM, 0)
    still = {1: Pose(2.2, 1.9, 0.0, 0.0, 0.0)}
    sharp, _ = view.picture(figures, still)
    blurred, _ = view.picture(figures, still, others=[still] * 4)
    assert sharp is not None
    assert blurred is not None
    np.testing.assert_allclose(blurred.astype(int), sharp.astype(int), atol=1)


def test_exposure_breathes() -> None:
    view = View(replace(EYE, exposure_swing=0.2, exposure_period_s=8.0), ROOM, 3)
    plain = View(EYE, ROOM, 3)
    reference = plain.picture([], {})[0]
    assert reference is not None
    times = np.arange(0, 40, 0.5)
    factors = np.array([view.exposure(float(t)) for t in times])
    assert 0.8 <= factors.min() < 0.87
    assert 1.13 < factors.max() <= 1.2
    assert factors.mean() == pytest.approx(1.0, abs=0.02)
    for t in (times[factors.argmin()], times[factors.argmax()]):
        picture = view.picture([], {}, time_s=float(t))[0]
        assert picture is not None
        middle = (reference > 30) & (reference < 190)
        share = picture[middle].astype(float) / reference[middle]
        assert np.median(share) == pytest.approx(view.exposure(float(t)), abs=0.02)
    np.testing.assert_array_equal(reference, plain.picture([], {}, time_s=5.0)[0])
    assert View(view.config, ROOM, 4).exposure(0.0) != view.exposure(0.0), "cameras do not breathe together"


def test_vignetting_darkens_the_corners() -> None:
    none, strong = (View(replace(EYE, vignette=v), ROOM, 0).picture([], {})[0] for v in (0.0, 0.3))
    assert none is not None
    assert strong is not None
    share = strong.astype(float).mean(axis=2) / none.mean(axis=2)
    assert share[30:34, 46:50].mean() == pytest.approx(1.0, abs=0.02)
    for corner in (share[:3, :3], share[:3, -3:], share[-3:, :3], share[-3:, -3:]):
        assert corner.mean() == pytest.approx(1 - 0.6, abs=0.06)


def test_each_camera_has_its_own_compression(tmp_path: Path) -> None:
    noisy = replace(EYE, noise=6.0)
    cameras = [noisy, replace(noisy, name="fine", crf=10), replace(noisy, name="coarse", crf=45)]
    scene = SceneConfig([ROOM], cameras, Habits(), look_alikes=0, people=1, seconds=1.0)
    world.film(world.create(scene, 1), tmp_path, crf=28)
    size = {}
    for path in tmp_path.glob("*.mp4"):
        with av.open(str(path)) as container:
            size[path.stem] = sum(packet.size for packet in container.demux(video=0))
    assert size["fine"] > 2 * size["eye"]
    assert size["eye"] > 1.5 * size["coarse"]


@pytest.mark.parametrize("key", CAMERA_RANGES)
@pytest.mark.parametrize("side", [0, 1])
def test_a_value_out_of_range_is_one_clear_line(tmp_path: Path, key: str, side: int) -> None:
    bound = CAMERA_RANGES[key][side]
    path = tmp_path / "mine.yaml"
    wrong = bound + (1 if side else -1)
    path.write_text(YAML.replace("KEY", f"{key}: {wrong}"))
    with pytest.raises(ConfigError) as caught:
        load_scene(str(path))
    message = f"scene mine.yaml: camera a: {key} must be in "
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(f"found {wrong:g}")
    path.write_text(YAML.replace("KEY", f"{key}: {bound}"))
    assert getattr(load_scene(str(path)).cameras[0], key) == bound


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outages: [[-1, 2]]", "scene mine.yaml: camera a: outages must be .start, length. in seconds"),
        ("outages: [[1, 0]]", "outages must be .start, length. in seconds.*found .1, 0."),
        ("outages: [[1, .nan]]", "outages must be .start, length. in seconds"),
        ("outages: [1, 2]", r"'cameras\[0\].outages\[0\]' must be a list of 2 numbers"),
        ("dropouts: .nan", "camera a: dropouts must be in 0 to 0.9, found nan"),
        ("crf: 20.5", r"'cameras\[0\].crf' must be a int"),
        ("clock_ofset_s: 1", "did you mean 'clock_offset_s'"),
    ],
)
def test_wrong_clocks_and_outages(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(YAML.replace("KEY", text))
    with pytest.raises(ConfigError, match=message) as caught:
        load_scene(str(path))
    assert "\n" not in str(caught.value)
