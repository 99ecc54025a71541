"""Clusters, their GANs and the partial labels of what they generate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from reid_models.batch import Target  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.gan import Discriminator, Gan, GanOptions, Generator  # noqa: E402
from reid_models.losses.classification import CrossEntropy  # noqa: E402
from reid_models.losses.criterion import Sizes  # noqa: E402
from reid_models.slsr import cluster_features, load_generated, partial_labels, prepare_slsr  # noqa: E402

SMALL = GanOptions(size=16, width=4, noise=8, batch=8)
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], dtype=np.uint8)


@pytest.fixture
def people(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """36 pictures of 9 people; three people each in red, green and blue, and features that say so."""
    pid = np.repeat(np.arange(9), 4)
    colour = pid % 3
    noise = rng.integers(-20, 20, (36, 3, 24, 12))
    images = np.clip(COLOURS[colour][:, :, None, None] + noise, 0, 255).astype(np.uint8)
    features = np.eye(3)[colour] * 10 + rng.normal(size=(36, 3)) * 0.1
    return images, pid, features.astype(np.float32)


def prepare(people, folder: Path, **more):
    options = {"per_cluster": 5, "steps": 3, "gan": SMALL, "generator": torch.Generator().manual_seed(1)}
    return prepare_slsr(*people, folder, **(options | more))


# ---------------------------------------------------------------------- clusters and labels


def test_partial_labels_by_hand() -> None:
    cluster, pid = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 2, 2, 3, -1])
    labels = partial_labels(cluster, pid, 3, 4)
    assert labels.tolist() == [[0.5, 0, 0.5, 0], [0, 0, 0.5, 0.5], [0, 0, 0, 0]]


def test_one_cluster_is_lsro(people, tmp_path: Path) -> None:
    made = prepare(people, tmp_path, clusters=1)
    assert made.soft == pytest.approx(np.full((5, 9), 1 / 9))


def test_three_colours_are_three_clusters(people) -> None:
    _, pid, features = people
    cluster, silhouette = cluster_features(features, 3, seed=0)
    assert len({(int(c), int(p) % 3) for c, p in zip(cluster, pid, strict=True)}) == 3
    assert list(silhouette) == [2, 3, 4, 5]
    assert max(silhouette, key=silhouette.__getitem__) == 3
    assert silhouette[3] > 0.9


@pytest.mark.parametrize(("features", "clusters", "message"), [
    (np.zeros((4, 2)), 2, "2 out of 1 different pictures"),
    (np.eye(3), 0, "choose 1…3"),
    (np.full((3, 2), np.inf), 2, "NaN or infinity"),
])
def test_what_cannot_be_clustered(features: np.ndarray, clusters: int, message: str) -> None:
    with pytest.raises(ReidError, match=message):
        cluster_features(features, clusters, 0)


def test_two_different_pictures_are_enough() -> None:
    cluster, silhouette = cluster_features(np.eye(2), 2, 0)
    assert sorted(cluster) == [0, 1]
    assert silhouette == {}  # not defined where every cluster has one picture


# ---------------------------------------------------------------------- the networks


def test_the_networks_are_the_papers() -> None:
    """8 × 8 × 512, four (de)convolutions of 5 × 5 and stride 2, 100 numbers to 128 × 128 × 3."""
    options = GanOptions()
    assert options.channels == [512, 256, 128, 64]
    generator, discriminator = Generator(options), Discriminator(options)
    assert generator.linear.weight.shape == (8 * 8 * 512, 100)
    ups = [m for m in generator.layers if isinstance(m, torch.nn.ConvTranspose2d)]
    downs = [m for m in discriminator.layers if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in ups] == [256, 128, 64, 3]
    assert [m.out_channels for m in downs] == [64, 128, 256, 512]
    assert {(*m.kernel_size, *m.stride) for m in [*ups, *downs]} == {(5, 5, 2, 2)}
    with torch.no_grad():
        made = generator.eval()(torch.zeros(1, 100))
        assert made.shape == (1, 3, 128, 128)
        assert discriminator.eval()(made).shape == (1,)


@pytest.mark.parametrize("bad", [{"size": 8}, {"size": 100}, {"batch": 1}, {"width": 0}, {"noise": 0},
                                 {"size": "big"}, {"batch": 2.5}])
def test_sizes_that_cannot_be_built(bad) -> None:
    with pytest.raises(ReidError, match="gan"):
        GanOptions(**bad)


def test_a_gan_learns_the_colour_of_its_pictures() -> None:
    images = torch.from_numpy(np.broadcast_to(COLOURS[0][:, None, None], (20, 3, 16, 16)).copy())
    gan = Gan(GanOptions(size=16, width=8, noise=8, batch=8, rate=2e-3), seed=0)
    gan.train(images, 120)
    made = gan.make(8, seed=1).float().mean((0, 2, 3))
    assert made[0] > made[1] + 60
    assert made[0] > made[2] + 60


def test_interrupted_and_resumed_is_the_same(tmp_path: Path) -> None:
    images = torch.randint(0, 255, (20, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    whole, first, second = (Gan(SMALL, seed=5) for _ in range(3))
    whole.train(images, 6)
    first.train(images, 3, folder=tmp_path)
    second.train(images, 6, folder=tmp_path)
    assert second.step == 6
    assert torch.equal(whole.make(4, 0), second.make(4, 0))
    assert not torch.equal(whole.make(4, 0), first.make(4, 0))
    assert torch.equal(torch.random.get_rng_state(), state)


# ---------------------------------------------------------------------- all of it


def test_prepare_writes_pictures_and_labels(people, tmp_path: Path) -> None:
    lines: list[str] = []
    made = prepare(people, tmp_path / "slsr", say=lines.append)
    assert len(made.paths) == 15
    assert all(path.is_file() for path in made.paths)
    assert made.pid.tolist() == [-1] * 15
    assert np.bincount(made.cluster).tolist() == [5, 5, 5]
    assert made.soft.shape == (15, 9)
    assert made.soft.sum(1) == pytest.approx(1)
    assert sorted(np.flatnonzero(row).tolist() for row in made.targets) == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert made.targets.max() == pytest.approx(1 / 3)
    pictures = made.images((32, 16))
    assert pictures.shape == (15, 3, 32, 16)
    assert pictures.dtype == np.uint8
    assert sum("silhouette" in line for line in lines) == 4
    assert any("cluster 3 of 3 (12 pictures): step 3 of 3" in line for line in lines)


def test_generated_pictures_go_into_the_loss(people, tmp_path: Path) -> None:
    made = prepare(people, tmp_path)
    soft = np.concatenate([np.eye(9, dtype=np.float32)[[0, 1]], made.soft[[0, 7]]])
    target = Target(torch.tensor([0, 1, -1, -1]), torch.zeros(4, dtype=torch.long), soft=torch.from_numpy(soft),
                    generated=torch.tensor([False, False, True, True]))
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    log_p = logits.log_softmax(1)
    people_of = [np.flatnonzero(made.soft[i]) for i in (0, 7)]
    slow = -log_p[0, 0] - log_p[1, 1] - log_p[2, people_of[0]].mean() - log_p[3, people_of[1]].mean()
    assert CrossEntropy(Sizes(9))(logits, target).item() == pytest.approx(slow.item() / 4, rel=1e-6)


def test_the_same_generator_gives_the_same_pictures(people, tmp_path: Path) -> None:
    first, second = prepare(people, tmp_path / "a"), prepare(people, tmp_path / "b")
    other = prepare(people, tmp_path / "c", generator=torch.Generator().manual_seed(2))
    size = (SMALL.size, SMALL.size)
    assert np.array_equal(first.images(size), second.images(size))
    assert not np.array_equal(first.images(size), other.images(size))


def test_killed_at_any_line_of_progress_it_goes_on_to_the_same_end(people, tmp_path: Path) -> None:
    whole = prepare(people, tmp_path / "whole", steps=10)
    for stop in (2, 5, 14, 27):  # while clustering, and in each GAN
        folder, lines = tmp_path / f"stopped {stop}", []

        def say(text: str, lines: list[str] = lines, stop: int = stop) -> None:
            lines.append(text)
            if len(lines) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(people, folder, steps=10, say=say)
        with pytest.raises(ReidError, match="no finished generated pictures"):
            load_generated(folder)
        again: list[str] = []
        made = prepare(people, folder, steps=10, say=again.append)
        assert np.array_equal(made.images((16, 16)), whole.images((16, 16)))
        if stop > 5:
            assert not any("silhouette" in line for line in again)


def test_a_finished_folder_is_read_not_made_again(people, tmp_path: Path) -> None:
    made = prepare(people, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in made.paths}
    lines: list[str] = []
    again = prepare(people, tmp_path, say=lines.append)
    assert lines == []
    assert {path: path.stat().st_mtime_ns for path in again.paths} == before
    assert again.silhouette == made.silhouette
    assert np.array_equal(load_generated(tmp_path).soft, made.soft)


def test_a_folder_of_other_work_is_left_alone(people, tmp_path: Path) -> None:
    prepare(people, tmp_path)
    with pytest.raises(ReidError, match=r"other settings \(steps\)"):
        prepare(people, tmp_path, steps=4)
    images, pid, features = people
    with pytest.raises(ReidError, match=r"other settings \(pictures\)"):
        prepare((images, pid[::-1].copy(), features), tmp_path)


def test_damage_is_one_line(people, tmp_path: Path) -> None:
    made = prepare(people, tmp_path)
    made.paths[3].write_bytes(b"no picture")
    with pytest.raises(ReidError, match=r"000003\.png: the generated picture is missing or damaged"):
        made.images((16, 16))
    for text in ("", "[]", json.dumps({"settings": 1}), "7"):
        (tmp_path / "slsr.json").write_text(text)
        with pytest.raises(ReidError, match="is damaged"):
            load_generated(tmp_path)
    with pytest.raises(ReidError, match="no finished generated pictures"):
        load_generated(tmp_path / "nowhere")
    with pytest.raises(ReidError, match=r"a pid of 8, but num_classes is 8"):
        prepare(people, tmp_path / "nowhere", num_classes=8)


def test_damaged_clusters_are_one_line(people, tmp_path: Path) -> None:
    prepare(people, tmp_path)
    for data in (b"", b"nothing"):
        (tmp_path / "clusters.npy").write_bytes(data)
        with pytest.raises(ReidError, match=r"clusters\.npy is missing or damaged"):
            prepare(people, tmp_path)


@pytest.mark.parametrize("change", [
    lambda i, p, f: (i.astype(np.float32), p, f), lambda i, p, f: (i, p[:5], f), lambda i, p, f: (i, p, f[:5]),
    lambda i, p, f: (i[:, 0], p, f), lambda i, p, f: (i[:0], p[:0], f[:0])])
def test_arrays_that_do_not_fit(people, tmp_path: Path, change) -> None:
    with pytest.raises(ReidError, match=r"^slsr"):
        prepare(change(*people), tmp_path)


def test_a_file_in_place_of_the_folder_is_one_line(people, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ReidError, match=r"the folder .*taken cannot be made: File exists"):
        prepare(people, tmp_path / "taken")
