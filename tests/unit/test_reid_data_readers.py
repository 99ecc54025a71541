"""Readers of ReID datasets, on tiny folders in each dataset's layout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from reid_scene import make_market
from scipy.io import savemat

from reid_models import ReidError
from reid_models.data import DATASETS, ReidImages, join_datasets, keep_identities, read_dataset, relabel
from reid_models.data.attributes import identity_attributes


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def labels(images: ReidImages) -> list[tuple[int, int]]:
    return list(zip(images.pid.tolist(), images.camid.tolist(), strict=True))


def names(images: ReidImages) -> list[str]:
    return [path.name for path in images.paths]


# ---------------------------------------------------------------------- Market-1501, DukeMTMC-reID


def test_market(tmp_path):
    data = read_dataset("market1501", make_market(tmp_path, identities=6, cameras=3, images=2))
    assert set(data.train.pid) == {2, 4, 6}
    assert set(data.query.pid) == {1, 3, 5}
    assert set(data.gallery.pid) == {0, 1, 3, 5}  # distractors are 0; junk is left out
    assert (len(data.train), len(data.query), len(data.gallery)) == (18, 9, 22)
    assert set(data.train.camid) == {0, 1, 2}
    assert data.train.attributes.shape == (18, 27)
    assert data.attribute_names[0] == "age"
    assert (data.gallery.attributes[data.gallery.pid == 0] == -1).all()
    assert "train 18 pictures of 3 in 3 cameras" in data.describe()


def test_market_attributes_follow_the_person(tmp_path):
    data = read_dataset("market1501", make_market(tmp_path, identities=40, cameras=2, images=1))
    for images in (data.train, data.query):
        for pid in images.identities:
            assert len(np.unique(images.attributes[images.pid == pid], axis=0)) == 1
    column = data.attribute_names.index("backpack")
    assert 0 < data.train.attributes[:, column].mean() < 1


def test_market_without_attributes_and_one_folder_up(tmp_path):
    root = make_market(tmp_path / "Market-1501-v15.09.15", identities=4, cameras=2)
    (root / "market_attribute.mat").unlink()
    data = read_dataset("market1501", tmp_path)
    assert data.train.attributes is None
    assert data.attribute_names == ()


def test_market_multi_query(tmp_path):
    root = make_market(tmp_path, identities=4, cameras=2)
    with pytest.raises(ReidError, match=r"has no gt_bbox"):
        read_dataset("market1501", root, multi_query=True)
    touch(root, "gt_bbox/0001_c1s1_1_00.jpg", "gt_bbox/0001_c1s1_2_00.jpg", "gt_bbox/0002_c1s1_2_00.jpg")
    assert labels(read_dataset("market1501", root, multi_query=True).query) == [(1, 0), (1, 0)]


@pytest.mark.data
def test_the_true_attribute_annotation(data_dir):
    names, table = identity_attributes(data_dir / "market1501_meta" / "market_attribute.mat", "market_attribute")
    assert len(names) == 27
    assert table.values.shape == (1501, 27)
    assert len(np.unique(table.pid)) == 1501
    # the two halves of the file have their columns in another order; of person 2 (training) and 1 (test) we know:
    two, one = (dict(zip(names, table.rows(np.array([pid]))[0], strict=True)) for pid in (2, 1))
    assert (two["upred"], two["bag"], two["downblue"], two["gender"]) == (1, 0, 1, 0)
    assert (one["upwhite"], one["downwhite"], one["hair"], one["gender"], one["clothes"]) == (1, 1, 1, 1, 0)
    ages, four = identity_attributes(data_dir / "market1501_meta" / "market_attribute.mat", "market_attribute", 4)
    assert len(ages) == 30
    assert (four.values[:, :4].sum(1) == 1).all()
    assert (table.rows(np.array([0, 9999])) == -1).all()


def test_duke(tmp_path):
    touch(tmp_path, "bounding_box_train/0001_c2_f0046182.jpg", "query/0005_c2_f0046985.jpg",
          "bounding_box_test/0005_c8_f0046985.jpg", "bounding_box_test/.0005_c8_f0046985.jpg")
    halves = {half: {"boots": np.array([[2]], np.uint8), "top": np.array([[1]], np.uint8),
                     "image_index": np.array([[pid]], object)} for half, pid in (("train", "0001"), ("test", "0005"))}
    savemat(tmp_path / "duke_attribute.mat", {"duke_attribute": halves})
    data = read_dataset("dukemtmc", tmp_path)
    assert [labels(x) for x in (data.train, data.query, data.gallery)] == [[(1, 1)], [(5, 1)], [(5, 7)]]
    assert data.attribute_names == ("boots", "top")
    assert data.train.attributes.tolist() == [[1, 0]]


@pytest.mark.parametrize("broken", ["nothing", "values", "lengths"])
def test_attribute_files_that_are_none(tmp_path, broken):
    make_market(tmp_path, identities=4, cameras=2, images=1)
    half = {"hat": np.array([[3 if broken == "values" else 1, 1]], np.uint8),
            "image_index": np.array([["0001", "0003"]], object)}
    if broken == "lengths":
        half["up"] = np.array([[1]], np.uint8)
    if broken == "nothing":
        (tmp_path / "market_attribute.mat").write_bytes(b"no mat file")
    else:
        savemat(tmp_path / "market_attribute.mat", {"market_attribute": {"train": half, "test": half}})
    with pytest.raises(ReidError, match=r"attributes .*market_attribute\.mat"):
        read_dataset("market1501", tmp_path)


# ---------------------------------------------------------------------- MSMT17


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_lists(tmp_path, folders):
    lists = {"train": "0000/0000_000_01_0303morning_0008_0.jpg 0\n", "val": "0000/0000_001_15_0303morning_0008_0.jpg 0",
             "query": "0007/0007_000_03_0303noon_0008_0.jpg 7\n\n",
             "gallery": "0007/0007_001_04_0303noon_0008_0.jpg 7\n"}
    root = tmp_path / "MSMT17_V1"
    touch(root, *folders)
    for folder in folders:
        (root / folder).unlink()
        (root / folder).mkdir()
    for name, text in lists.items():
        (root / f"list_{name}.txt").write_text(text)
    data = read_dataset("msmt17", tmp_path)
    assert [labels(x) for x in (data.train, data.query, data.gallery)] == [[(0, 0), (0, 14)], [(7, 2)], [(7, 3)]]
    assert data.query.paths[0] == root / folders[1] / "0007" / "0007_000_03_0303noon_0008_0.jpg"
    assert len(read_dataset("msmt17", tmp_path, validation=False).train) == 1
    (root / "list_query.txt").write_text("no such line\n")
    with pytest.raises(ReidError, match=r"list_query.txt, line 1: expected"):
        read_dataset("msmt17", tmp_path)
    (root / "list_query.txt").unlink()
    with pytest.raises(ReidError, match=r"has no list_query.txt"):
        read_dataset("msmt17", tmp_path)


def test_msmt17_like_market(tmp_path):
    touch(tmp_path, "bounding_box_train/0000_c1_0000.jpg", "query/0000_c1_0002.jpg", "bounding_box_test/0000_c2_1.jpg")
    data = read_dataset("msmt17", tmp_path)
    assert [labels(x) for x in (data.train, data.query, data.gallery)] == [[(0, 0)], [(0, 0)], [(0, 1)]]


# ---------------------------------------------------------------------- CUHK03


def cuhk_pictures(root: Path, boxes: str = "detected") -> None:
    for pair, person in ((1, 1), (1, 2), (2, 1)):
        touch(root, *(f"images_{boxes}/{pair}_{person:03d}_{1 if n < 6 else 2}_{n:02d}.png" for n in (1, 2, 6)))


def test_cuhk03_new_protocol(tmp_path):
    cuhk_pictures(tmp_path)
    with pytest.raises(ReidError, match=r"there is no .*config_detected.mat"):
        read_dataset("cuhk03", tmp_path)
    files = ["1_001_1_01.png", "1_002_1_01.png", "1_002_2_06.png", "2_001_1_01.png"]
    savemat(tmp_path / "cuhk03_new_protocol_config_detected.mat", {
        "filelist": np.array(files, object)[:, None], "labels": [[1], [2], [2], [844]], "camId": [[1], [1], [2], [1]],
        "train_idx": [[1], [4]], "query_idx": [[2]], "gallery_idx": [[3]]})
    data = read_dataset("cuhk03", tmp_path)
    assert names(data.train) == ["1_001_1_01.png", "2_001_1_01.png"]
    assert [labels(x) for x in (data.train, data.query, data.gallery)] == [[(1, 0), (844, 0)], [(2, 0)], [(2, 1)]]
    assert all(path.is_file() for path in data.train.paths)
    with pytest.raises(ReidError, match=r"classic protocol's test sets are in cuhk-03.mat"):
        read_dataset("cuhk03", tmp_path, protocol="classic")


def test_cuhk03_classic(tmp_path):
    cuhk_pictures(tmp_path, "labeled")
    (tmp_path / "cuhk03_tests.json").write_text("[[[1, 2]], [[2, 1]]]")
    data = read_dataset("cuhk03", tmp_path, boxes="labelled", protocol="classic", split=1)
    assert data.protocol == "single_gallery_shot"
    assert {name[:5] for name in names(data.train)} == {"1_001", "1_002"}
    assert names(data.query) == names(data.gallery) == ["2_001_1_01.png", "2_001_1_02.png", "2_001_2_06.png"]
    assert data.query.camid.tolist() == [0, 0, 1]
    with pytest.raises(ReidError, match=r"split is 2, expected 0…1"):
        read_dataset("cuhk03", tmp_path, boxes="labeled", protocol="classic", split=2)


def test_cuhk03_like_market(tmp_path):
    touch(tmp_path, *(f"detected/{f}/0002_c1_1.png" for f in ("bounding_box_train", "query", "bounding_box_test")))
    assert labels(read_dataset("cuhk03", tmp_path).train) == [(2, 0)]
    with pytest.raises(ReidError, match=r"no images_labeled and no cuhk-03.mat"):
        read_dataset("cuhk03", tmp_path, boxes="labeled")


def make_cuhk_mat(path: Path) -> None:
    """Two pairs of cameras, one person each, MATLAB's way: references, everything transposed, empty places."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        def cell(values):
            refs = np.empty(np.shape(values)[::-1], h5py.ref_dtype)
            for index, value in np.ndenumerate(values):
                dataset = file.create_dataset(f"#refs#/{len(file['#refs#'])}", data=value) \
                    if isinstance(value, np.ndarray) else value
                refs[index[::-1]] = dataset.ref
            return refs

        file.create_group("#refs#")
        for boxes in ("detected", "labeled"):
            pairs = np.empty((2, 1), object)
            for k in range(2):
                places = np.empty((1, 10), object)
                for n in range(10):
                    places[0, n] = np.zeros(2, np.uint64)
                    if n in (0, 7):
                        picture = np.zeros((9, 5, 3), np.uint8)  # height, width, RGB
                        picture[:4, :, 0] = 200 + k
                        places[0, n] = picture.T
                pairs[k, 0] = file.create_dataset(f"#refs#/{boxes}{k}", data=cell(places))
            file.create_dataset(boxes, data=cell(pairs))
        tests = np.empty((1, 1), object)
        tests[0, 0] = np.array([[2.0, 1.0]]).T
        file.create_dataset("testsets", data=cell(tests))


def test_cuhk03_mat(tmp_path):
    make_cuhk_mat(tmp_path / "cuhk-03.mat")
    data = read_dataset("cuhk03", tmp_path, protocol="classic")
    assert names(data.train) == ["1_001_1_01.png", "1_001_2_08.png"]
    assert names(data.query) == ["2_001_1_01.png", "2_001_2_08.png"]
    picture = cv2.imread(str(data.query.paths[0]))
    assert picture.shape == (9, 5, 3)
    assert picture[0, 0].tolist() == [0, 0, 201]  # red, in OpenCV's order
    assert picture[8, 0].tolist() == [0, 0, 0]
    assert len(read_dataset("cuhk03", tmp_path, boxes="labeled", protocol="classic").train) == 2
    assert sorted(os.listdir(tmp_path)) == ["cuhk-03.mat", "cuhk03_tests.json", "images_detected", "images_labeled"]


def test_cuhk03_mat_that_is_none(tmp_path):
    pytest.importorskip("h5py")
    (tmp_path / "cuhk-03.mat").write_bytes(b"no such thing")
    with pytest.raises(ReidError, match=r"cuhk-03\.mat cannot be read"):
        read_dataset("cuhk03", tmp_path, protocol="classic")
    assert os.listdir(tmp_path) == ["cuhk-03.mat"]


# ---------------------------------------------------------------------- VIPeR, vehicles


def test_viper(tmp_path):
    touch(tmp_path, *(f"VIPeR/cam_a/{i:03d}_0.bmp" for i in range(12)),
          *(f"VIPeR/cam_b/{i:03d}_90.bmp" for i in range(1, 12)))
    data = read_dataset("viper", tmp_path)
    again = read_dataset("viper", tmp_path)
    assert data.query.pid.tolist() == again.query.pid.tolist() == data.gallery.pid.tolist()
    assert (len(data.query), len(data.train)) == (5, 12)
    assert not set(data.query.pid) & set(data.train.pid)
    assert any(read_dataset("viper", tmp_path, split=k).query.pid.tolist() != data.query.pid.tolist() for k in (1, 2))
    everybody = read_dataset("viper", tmp_path, split=-1)
    assert (len(everybody.query), len(everybody.train), everybody.protocol) == (11, 0, "random_halves")


def test_veri(tmp_path):
    touch(tmp_path, "image_train/0001_c001_00016450_0.jpg", "image_query/0002_c020_00016450_0.jpg",
          "image_test/0002_c003_00016450_0.jpg")
    data = read_dataset("veri776", tmp_path)
    assert [labels(x) for x in (data.train, data.query, data.gallery)] == [[(1, 0)], [(2, 19)], [(2, 2)]]


def test_vehicleid(tmp_path):
    (tmp_path / "image").mkdir()
    touch(tmp_path, "train_test_split/train_list.txt", "train_test_split/test_list_800.txt")
    (tmp_path / "train_test_split/train_list.txt").write_text("0000001 7\n0000002 7\n")
    (tmp_path / "train_test_split/test_list_800.txt").write_text("".join(f"{i:07d} {i // 4}\n" for i in range(40)))
    data = read_dataset("vehicleid", tmp_path, size=800)
    assert (len(data.train), len(data.query), len(data.gallery)) == (2, 30, 10)
    assert data.gallery.pid.tolist() == list(range(10))
    assert not set(data.gallery.paths) & set(data.query.paths)
    assert data.train.paths[0].name == "0000001.jpg"
    other = read_dataset("vehicleid", tmp_path, size=800, seed=1)
    assert names(other.gallery) != names(data.gallery)
    with pytest.raises(ReidError, match=r"size is 100"):
        read_dataset("vehicleid", tmp_path, size=100)
    with pytest.raises(ReidError, match=r"has no train_test_split/test_list_2400\.txt"):
        read_dataset("vehicleid", tmp_path)


# ---------------------------------------------------------------------- folder per identity


def test_folder_flat(tmp_path):
    for person in range(10):
        touch(tmp_path, *(f"person {person}/cam{camera}_{n}.jpg" for camera in (2, 10) for n in range(3)))
    data = read_dataset("folder", tmp_path)
    assert len(data.train.identities) == len(data.query.identities) == 5
    assert not set(data.train.pid) & set(data.query.pid)
    assert set(data.gallery.pid) == set(data.query.pid)
    assert (len(data.train), len(data.query), len(data.gallery)) == (30, 10, 20)
    assert {path.name.split("_")[0] for path, cam in zip(data.train.paths, data.train.camid, strict=True) if cam == 0
            } == {"cam2"}
    assert len(read_dataset("folder", tmp_path, test_share=0.0).query) == 0
    assert len(read_dataset("folder", tmp_path, test_share=1.0).train) == 0


@pytest.mark.parametrize("option", [
    *({"test_share": value} for value in ("nan", float("nan"), "0.5", -0.1, 1.1, True, None)),
    *({"seed": value} for value in ("x", -1, 0.5, True, None)),
])  # fmt: skip
def test_options_of_a_folder_are_checked(tmp_path, option):
    touch(tmp_path, "a/c1_1.jpg", "b/c1_1.jpg")
    (name,) = option
    with pytest.raises(ReidError, match=f"folder: {name} is .*, expected a "):
        read_dataset("folder", tmp_path, **option)


def test_folder_sides(tmp_path):
    touch(tmp_path, "train/a/c1_1.jpg", "query/x/c1_1.jpg", "gallery/y/c3_1.jpg", "gallery/x/c2_1.png",
          "gallery/junk/c2_7.png", "gallery/x/readme.txt")
    data = read_dataset("folder", tmp_path)
    assert labels(data.train) == [(0, 0)]
    assert labels(data.query) == [(0, 0)]
    assert sorted(labels(data.gallery)) == [(-1, 1), (0, 1), (1, 2)]
    shutil.rmtree(tmp_path / "gallery")
    with pytest.raises(ReidError, match=r"has no gallery; expected ROOT/"):
        read_dataset("folder", tmp_path)
    shutil.rmtree(tmp_path / "query")
    assert len(read_dataset("folder", tmp_path).train) == 1


def test_an_empty_folder_says_how_it_must_look(tmp_path):
    with pytest.raises(ReidError, match=r"no pictures in .*expected ROOT/<identity>/<camera>_<anything>.jpg"):
        read_dataset("folder", tmp_path)


# ---------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"folder"}))
def test_a_wrong_folder_is_one_clear_line(tmp_path, name):
    with pytest.raises(ReidError) as caught:
        read_dataset(name, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "no " in message
    with pytest.raises(ReidError, match=r"there is no folder"):
        read_dataset(name, tmp_path / "elsewhere")
    with pytest.raises(ReidError, match=r"has no option 'colour'"):
        read_dataset(name, tmp_path, colour=1)


def test_unknown_names(tmp_path):
    with pytest.raises(ReidError, match=r"did you mean 'market1501'\?"):
        read_dataset("market150", tmp_path)
    with pytest.raises(ReidError, match=r"cannot be read through nowhere:reader"):
        read_dataset("nowhere:reader", tmp_path)


def test_wrong_file_names_are_told(tmp_path):
    touch(tmp_path, "bounding_box_train/person.jpg", "query/0001_c1_1.jpg", "bounding_box_test/0001_c1_1.jpg")
    with pytest.raises(ReidError, match=r"person\.jpg has a name unlike"):
        read_dataset("market1501", tmp_path)


def test_relabel():
    label, known = relabel([7, -1, 3, 7, 900])
    assert label.tolist() == [1, -1, 0, 1, 2]
    assert known.tolist() == [3, 7, 900]


def test_join(tmp_path):
    first = read_dataset("market1501", make_market(tmp_path / "a", identities=6, cameras=3, images=1))
    touch(tmp_path / "b", "train/x/1_1.jpg", "query/y/1_1.jpg", "gallery/y/2_1.jpg", "gallery/junk/2_2.jpg")
    second = read_dataset("folder", tmp_path / "b")
    joined = join_datasets([first, second])
    assert joined.name == "market1501+folder"
    assert set(joined.train.pid) == {0, 1, 2, 3}
    assert joined.train.camid.tolist() == [*first.train.camid, 3]
    assert set(joined.query.pid) == {1, 2, 3, 4}  # 0 are Market's distractors
    assert joined.gallery.pid.tolist()[-2:] == [-1, 4] or joined.gallery.pid.tolist()[-2:] == [4, -1]
    assert joined.gallery.camid.max() == 4
    assert joined.train.attributes.shape == (10, 27)
    assert (joined.train.attributes[-1] == -1).all()
    assert join_datasets([first]) is first
    with pytest.raises(ReidError, match=r"no dataset"):
        join_datasets([])


def test_keep_identities():
    images = ReidImages(tuple(Path(str(i)) for i in range(40)), np.repeat(np.arange(10), 4), np.zeros(40, int))
    rng = np.random.default_rng(0)
    assert [len(keep_identities(images, s, rng).identities) for s in (0.25, 0.5, 0.75, 1.0, 0.01)] == [2, 5, 8, 10, 1]
    assert len(keep_identities(images, 0.5, rng)) == 20
    with pytest.raises(ReidError, match=r"share of the identities is 0"):
        keep_identities(images, 0, rng)


def test_images_check_themselves():
    with pytest.raises(ReidError, match=r"'camid' has shape \(1,\), expected \(2,\)"):
        ReidImages((Path("a"), Path("b")), np.zeros(2, int), np.zeros(1, int))
    with pytest.raises(ReidError, match=r"'attributes' has shape"):
        ReidImages((Path("a"),), np.zeros(1, int), np.zeros(1, int), np.full((1, 2), 3, np.int8))
