"""Calibration files of every kind, and site files with every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import ConfigError
from mctrack.geometry.cameras import Pinhole
from mctrack.geometry.checks import check_handedness, handedness, tell_direction
from mctrack.geometry.readers import TSAI_KEYS, read_epfl, read_json, read_opencv, read_tsai, rodrigues
from mctrack.geometry.site import load_site, match_names, peek_site

SIZE = (640, 480)
K = np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
RVEC = np.array([2.0, 0.1, -0.1])  # right-handed, looking down and ahead
TVEC = np.array([0.3, 0.5, 6.0])


@pytest.fixture
def camera() -> Pinhole:
    return Pinhole(K, np.array([-0.1, 0.01, 0.0, 0.0, 0.0]), rodrigues(RVEC), TVEC)


def ground_homography(camera: Pinhole) -> np.ndarray:
    return np.linalg.inv(camera.K @ np.column_stack([camera.R[:, :2], camera.t]))


def xml(**matrices: np.ndarray) -> str:
    parts = "".join(
        f'<{name} type_id="opencv-matrix"><rows>{len(m)}</rows><cols>{m.size // len(m)}</cols><dt>d</dt>'
        f"<data>{' '.join(map(str, m.ravel()))}</data></{name}>" for name, m in matrices.items())
    return f'<?xml version="1.0"?>\n<opencv_storage>{parts}</opencv_storage>\n'


def write_opencv(folder: Path, kind: str, camera: Pinhole, scale: float) -> tuple[Path, Path]:
    inner, outer = folder / f"intr.{kind}", folder / f"extr.{kind}"
    rvec, tvec = RVEC, TVEC / scale
    if kind == "xml":
        inner.write_text(xml(camera_matrix=camera.K, distortion_coefficients=camera.dist[:, None]))
        outer.write_text(f"<?xml version='1.0'?><opencv_storage><rvec>{' '.join(map(str, rvec))}</rvec>"
                         f"<tvec>\n {' '.join(map(str, tvec))}</tvec></opencv_storage>")
    elif kind == "json":
        inner.write_text(json.dumps({"camera_matrix": camera.K.tolist(), "dist": camera.dist.tolist()}))
        outer.write_text(json.dumps({"rvec": rvec.tolist(), "tvec": tvec.tolist()}))
    else:
        head = "%YAML:1.0\n---\n"
        inner.write_text(head + "camera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: "
                         f"{camera.K.ravel().tolist()}\ndistortion_coefficients: !!opencv-matrix\n   rows: 1\n"
                         f"   cols: 5\n   dt: d\n   data: {camera.dist.tolist()}\n")
        outer.write_text(head + f"rvec: {rvec.tolist()}\ntvec: {tvec.tolist()}\n")
    return inner, outer


@pytest.mark.parametrize("kind", ["xml", "json", "yml"])
def test_opencv_files_in_centimetres(tmp_path: Path, camera: Pinhole, kind: str) -> None:
    found = read_opencv(*write_opencv(tmp_path, kind, camera, 0.01), 0.01, "calib")
    points = np.array([[0.0, 0.5, 0.0], [1.0, 2.0, 1.7]])
    np.testing.assert_allclose(found.to_image(points), camera.to_image(points), atol=1e-6)


def test_tsai_as_pets_has_it(tmp_path: Path) -> None:
    path = tmp_path / "View_001.xml"
    path.write_text('<Camera name="View_001"><Geometry width="768" height="576" ncx="795" nfx="752" dx="4.85e-03" '
                    'dy="4.65e-03" dpx="5.127e-03" dpy="4.65e-03"/><Intrinsic focal="5.5549" kappa1="5.1113e-03" '
                    'cx="324.22" cy="282.56" sx="1.0937"/><Extrinsic tx="-3.4329e+01" ty="1.0855e+03" tz="3.74e+04" '
                    'rx="1.9007" ry="4.9730e-01" rz="1.6415e-01"/></Camera>')
    found = read_tsai(path, 0.001, "calib")
    assert found.t.tolist() == pytest.approx([-0.034329, 1.0855, 37.4])
    assert np.linalg.det(found.R) == pytest.approx(1.0)
    pixels = np.array([[300.0, 400.0], [500.0, 500.0]])
    np.testing.assert_allclose(found.to_image(np.column_stack([found.to_ground(pixels), [0, 0]])), pixels, atol=1e-6)
    path.write_text('<Camera><Intrinsic focal="5"/></Camera>')
    with pytest.raises(ConfigError, match="has no 'kappa1'; Tsai's model needs focal"):
        read_tsai(path, 0.001, "calib")


EPFL = """# (c) a comment
# Camera 0
# Ground plane homography
0.176138 0.647589 -63.412272
-0.180912\t0.622446 -0.125533
-0.000002 0.001756 0.102316

# Head plane homography
0.053299 1.247713 13.803214
-0.092242 1.196431 38.620552
-0.000080 0.003919 0.164282
# Camera 1
# Ground plane homography
-0.118791 0.077787 64.819189
0.133127 0.069884 15.832922
-0.000001 0.002045 -0.057759
# Head plane height in camera view
0
"""


def test_epfl_text(tmp_path: Path) -> None:
    path = tmp_path / "calibration.txt"
    path.write_text(EPFL)
    found = read_epfl(path, "calib")
    assert list(found) == ["0", "1"]
    assert found["0"].ground[1, 0] == -0.180912
    assert found["0"].head is not None
    assert found["0"].head_row_px is None
    assert found["1"].head is None
    assert found["1"].head_row_px == 0
    path.write_text("1 2 3\n")
    with pytest.raises(ConfigError, match="line 1: expected numbers below a comment"):
        read_epfl(path, "calib")


@pytest.mark.data
def test_the_epfl_laboratory(data_dir: Path) -> None:
    found = read_epfl(data_dir / "epfl_calib" / "calibration-4p.txt", "calib")
    assert list(found) == ["0", "1", "2", "3"]
    assert [c.head is not None for c in found.values()] == [True, True, False, False]


@pytest.mark.data
def test_wildtrack_homographies_tell_their_direction(data_dir: Path) -> None:
    tree = json.loads((data_dir / "wildtrack" / "metainfo_homographies.json").read_text())["sequence1"]
    cameras = {}
    for k, matrix in enumerate(tree["homography"]):
        camera, direction = tell_direction(np.array(matrix), (1920, 1080), 0.01, f"camera {k}")
        assert direction == "ground_to_image"
        cameras[str(k)] = (camera, (1920, 1080))
    check_handedness(cameras, "site")


def test_the_direction_is_told_and_never_guessed(camera: Pinhole) -> None:
    h = ground_homography(camera)
    for matrix, wanted in ((h, "image_to_ground"), (np.linalg.inv(h), "ground_to_image")):
        found, direction = tell_direction(matrix, SIZE, 1.0, "x")
        assert direction == wanted
        flat, pixel = Pinhole(camera.K, np.zeros(5), camera.R, camera.t), np.array([[320.0, 400.0]])
        np.testing.assert_allclose(found.to_ground(pixel), flat.to_ground(pixel))
    with pytest.raises(ConfigError, match=r"which way does the homography map.*say direction: image_to_ground or"):
        tell_direction(np.diag([1.0, 1.0, 1.0]), SIZE, 1.0, "x")
    mirrored = np.diag([-1.0, 1.0, 1.0]) @ h
    cameras = {name: (tell_direction(m, SIZE, 1.0, "x")[0], SIZE) for name, m in (("a", h), ("b", h), ("c", mirrored))}
    assert [handedness(*c) for c in cameras.values()] == [-1, -1, 1]
    with pytest.raises(ConfigError, match="camera c: the points are mirrored"):
        check_handedness(cameras, "site")


# ---------------------------------------------------------------------- site files


def own_json(camera: Pinhole, *names: str, scale: float = 1.0) -> str:
    entry = {"image_size": SIZE, "K": camera.K.tolist(), "dist": camera.dist.tolist(), "R": camera.R.tolist(),
             "t": (camera.t * scale).tolist()}
    return json.dumps({"units": "m", "cameras": dict.fromkeys(names, entry)})


def test_a_site_with_everything(tmp_path: Path, camera: Pinhole) -> None:
    (tmp_path / "calibration.json").write_text(own_json(camera, "a", "b"))
    write_opencv(tmp_path, "xml", camera, 0.01)
    h = ground_homography(camera)
    (tmp_path / "h.txt").write_text("\n".join(" ".join(map(str, row)) for row in h))
    path = tmp_path / "site.yaml"
    path.write_text("""
unit: m
cameras:
  a: {file: calibration.json}
  c: {intrinsic: intr.xml, extrinsic: extr.xml, unit: cm, size: [640, 480]}
  d: {homography: h.txt}
  e: {}
time_offset_s: {c: 0.5}
areas: {room: [[0, 0], [4, 0], [4, 4], [2, 2], [0, 4]]}
doors: {north: [2, 4]}
transitions: {"a->e": [3, 20]}
""")
    sizes = dict.fromkeys("acde", SIZE)
    site = load_site(path, sizes)
    assert site.names == ("a", "c", "d")
    assert site.time_offset_s == {"c": 0.5}
    assert site.transitions == {"a->e": (3.0, 20.0)}
    assert len(site.notes) == 1
    assert "camera d: its homography maps image to ground" in site.notes[0]
    assert site.inside(np.array([[1.0, 1.0], [2.0, 3.0], [5.0, 1.0]])).tolist() == [True, False, False]
    for name in "ac":
        np.testing.assert_allclose(site.cameras[name].to_ground(np.array([[300.0, 400.0]])),
                                   camera.to_ground(np.array([[300.0, 400.0]])), atol=1e-6)
    assert match_names(site, ["e", "c", "x"]) == ["c"]
    peeked = peek_site(path)
    assert peeked.names == site.names
    assert {p.name for p in peeked.files} == {"site.yaml", "calibration.json", "intr.xml", "extr.xml", "h.txt"}


BAD = [
    ("cams: {}", "unknown key 'cams' (did you mean 'cameras'?)"),
    ("unit: m", "'cameras' is missing"),
    ("cameras: {a: {}}", "no camera has a calibration"),
    ("cameras: {a: {file: calibration.json, intrinsic: i.xml}}", "camera a: needs exactly one of file, intrinsic"),
    ("cameras: {a: {file: calibration.json, fil: 1}}", "camera a: unknown key 'fil' (did you mean 'file'?)"),
    ("cameras: {z: {file: calibration.json}}", "calibration.json has no camera 'z'"),
    ("cameras: {a: {file: none.json}}", "none.json cannot be read: No such file"),
    ("cameras: {a: {homography: [[1,2,3],[2,4,6],[0,0,1]], size: [640, 480]}}\nunit: m", "the homography is singular"),
    ("cameras: {a: {homography: [1, 2, 3], size: [640, 480]}}\nunit: m", "expected nine numbers"),
    ("cameras: {a: {homography: [[1,0,0],[0,1,0],[0,0,1]], size: [640, 480]}}", "which unit is the floor in?"),
    ("cameras: {a: {homography: [[1,0,0],[0,1,0],[0,0,1]]}}\nunit: m", "needs size: [width, height]"),
    ("cameras: {a: {homography: [[1,0,0],[0,1,0],[0,0,1]], size: [640, 480], direction: up}}\nunit: m",
     "direction 'up' must be image_to_ground or ground_to_image"),
    ("unit: ell\ncameras: {a: {file: calibration.json}}", "unit 'ell' is not known; use m, dm, cm"),
    ("cameras: {a: {file: calibration.json}}\ntime_offset_s: {b: 1}", "time_offset_s: no camera 'b'"),
    ("cameras: {a: {file: calibration.json}}\ntransitions: {a: [1, 2]}", "must be like 'cam1->cam2: [min_s, max_s]'"),
    ("cameras: {a: {file: calibration.json}}\nareas: {r: [[0, 0]]}", "areas.r must be a list of at least 3 [x, y]"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_mistakes_in_a_site_are_one_clear_line(tmp_path: Path, camera: Pinhole, text: str, said: str) -> None:
    (tmp_path / "calibration.json").write_text(own_json(camera, "a"))
    path = tmp_path / "site.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absurd_calibrations_are_refused(tmp_path: Path, camera: Pinhole) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(own_json(camera, "a", scale=1000.0))  # millimetres that say they are metres
    with pytest.raises(ConfigError, match=r"camera a: .*is the unit right"):
        load_site(path)
    path.write_text(own_json(camera, "a"))
    with pytest.raises(ConfigError, match="calibrated for pictures of 640 × 480, but this run's have 1280 × 960"):
        load_site(path, {"a": (1280, 960)})
    mirror = Pinhole(camera.K, camera.dist, camera.R @ np.diag([-1.0, 1.0, 1.0]), camera.t)
    path.write_text(own_json(mirror, "a"))
    with pytest.raises(ConfigError, match="R mirrors the world"):
        read_json(path, "calib")


def broken(camera: Pinhole, key: str, value: object) -> str:
    """The JSON of a camera one of whose keys (or one of the file's) holds something else; None: it is not there."""
    tree = json.loads(own_json(camera, "a"))
    place = tree if key in tree else tree["cameras"] if key == "a" else tree["cameras"]["a"]
    place[key] = value
    if value is None:
        del place[key]
    return json.dumps(tree)


@pytest.mark.parametrize(("key", "value", "said"), [
    ("units", None, "has no 'units'; use m, dm"), ("units", ["m"], "unit '['m']' is not known"),
    ("cameras", None, "expected an object with 'units' and 'cameras'"),
    ("cameras", ["a"], "expected an object with 'units' and 'cameras'"),
    ("a", [1, 2], "camera a: expected an object with image_size, K, dist, R and t"),
    *((key, None, f"camera a has no '{key}'; it needs") for key in ("K", "R", "t", "image_size")),
    *((key, value, f"camera a: '{key}' must be a list of {size} numbers") for key, size in (
        ("K", "3 × 3"), ("R", "3 × 3"), ("t", "3"), ("image_size", "2"))
      for value in ([1.0], ["x"], {}, [[1], [1, 2]])),
    ("dist", ["x"], "camera a: 'dist' must be a list of numbers"),
    ("t", [0, 0, float("nan")], "camera a: the calibration holds numbers that are not finite"),
    ("image_size", [0, 480], "camera a: image_size is 0 × 480; expected pixels"),
    ("image_size", [float("inf"), 480], "camera a: image_size is inf × 480"),
])  # fmt: skip
def test_mistakes_in_our_json_name_camera_and_key(tmp_path: Path, camera: Pinhole, key: str, value: object,
                                                  said: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(broken(camera, key, value))
    with pytest.raises(ConfigError) as caught:
        read_json(path, "calib")
    assert said in str(caught.value)
    assert "calibration.json" in str(caught.value)
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "7", "null", '"x"'])
def test_json_that_is_no_calibration(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match="expected an object with 'units' and 'cameras'"):
        read_json(tmp_path / "c.json", "calib")


@pytest.mark.parametrize(("key", "value", "said"), [
    ("camera_matrix", [1.0, 2.0], "the camera matrix has 2 numbers, expected 3 × 3"),
    ("rvec", [{"x": 1}, 2, 3], "'rvec' is no list of numbers"), ("tvec", ["x", 2, 3], "'tvec' is no list of numbers"),
])
def test_mistakes_in_opencv_json_name_the_key(tmp_path: Path, camera: Pinhole, key: str, value: object,
                                              said: str) -> None:
    path = tmp_path / "both.json"
    tree = {"camera_matrix": camera.K.tolist(), "dist": [], "rvec": RVEC.tolist(), "tvec": TVEC.tolist()}
    path.write_text(json.dumps(tree | {key: value}))
    with pytest.raises(ConfigError, match=rf"calib: .*both\.json.*{said}"):
        read_opencv(path, path, 1.0, "calib")


@pytest.mark.parametrize(("value", "shown"), [("[1]", r"\[1\]"), ("x", "'x'"), (".nan", "nan"), ("null", "None")])
def test_mistakes_in_tsai_name_the_key(tmp_path: Path, value: str, shown: str) -> None:
    path = tmp_path / "tsai.yaml"
    path.write_text("\n".join(f"{k}: {value if k == 'cx' else 1.0}" for k in TSAI_KEYS))
    with pytest.raises(ConfigError, match=rf"calib: .*tsai\.yaml: 'cx' is {shown}, expected a finite number"):
        read_tsai(path, 1.0, "calib")


def test_names_must_meet(tmp_path: Path, camera: Pinhole) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(own_json(camera, "Cam_1", "cam2"))
    site = load_site(path)
    with pytest.raises(ConfigError, match=r"camera 'Cam_1' is not in this run .did you mean 'cam1'"):
        match_names(site, ["cam1", "cam2"])
    with pytest.raises(ConfigError, match=r"none of its cameras .Cam_1, cam2. is in this run"):
        match_names(site, ["yard"])
