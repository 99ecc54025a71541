"""Pictures of retrieval: what is drawn, in which colour, and where a model looks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from reid_scene import make_market

from reid_models import ReidError, load
from reid_models.data import load_images, normalise, read_dataset
from reid_models.pictures import draw_all
from reid_models.pictures.curves import cmc_figure, distance_figure, equal_error, save_figure
from reid_models.pictures.map import feature_map
from reid_models.pictures.pairs import sample_distances
from reid_models.pictures.ranked import nearest_entries, ranked_picture
from reid_models.score import embed_images


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    data = read_dataset("market1501", make_market(tmp_path_factory.mktemp("pictures"), identities=12, cameras=3))
    embedder = load("histogram")
    return data, embed_images(data.query, embedder), embed_images(data.gallery, embedder)


def test_the_frames_say_the_truth(described):
    data, query, gallery = described
    picture = ranked_picture(data, query, gallery, range(len(query)), ranks=5, hw=(64, 32))
    tile_h, tile_w = 64 + 8 + 14 + 6, 32 + 8 + 6
    assert picture.shape == (len(query) * tile_h + 6, 6 * tile_w + 18 + 6, 3)
    seen = set()
    for row in range(len(query)):
        order = np.argsort(1 - gallery @ query[row], kind="stable")
        allowed = [j for j in order if not (data.gallery.pid[j] == data.query.pid[row]
                                            and data.gallery.camid[j] == data.query.camid[row])]
        entries = nearest_entries(data, 1 - gallery @ query[row], row, 5)
        assert entries.tolist() == allowed[:5]
        for place, entry in enumerate(entries, 1):
            _, green, red = picture[row * tile_h + 6 + 1, 6 + place * tile_w + 18 + 10].astype(int)
            right = data.gallery.pid[entry] == data.query.pid[row]
            assert (green > red) == right
            seen.add(bool(right))
    assert seen == {True, False}


def test_all_of_them_are_files(described, tmp_path):
    pytest.importorskip("sklearn")
    files = draw_all(tmp_path / "new" / "folder", *described)
    assert {path.name for path in files} == {"ranked.png", "mistakes.png", "cmc.png", "distances.png", "tsne.png"}
    for path in files:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 10


def test_no_state_of_pyplot_is_touched(described, tmp_path):
    import sys

    before = "matplotlib.pyplot" in sys.modules
    save_figure(cmc_figure({"a": np.linspace(0.3, 1, 20)}), tmp_path / "cmc.png")
    save_figure(distance_figure([0.1, 0.2], [0.5, 0.9], threshold=0.3), tmp_path / "distances.svg")
    assert ("matplotlib.pyplot" in sys.modules) == before
    assert (tmp_path / "distances.svg").read_text().startswith("<?xml")


def test_cmc_holds_the_curve():
    values = np.array([0.5, 0.75, 1.0])
    axes = cmc_figure({"ours": values, "theirs": values / 2}).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [50, 75, 100]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ours (rank-1 50.0%)",
                                                                          "theirs (rank-1 25.0%)"]


def test_distances_without_pairs():
    with pytest.raises(ReidError, match="no pairs"):
        distance_figure([], [0.5])


def test_equal_error(rng):
    at, rate = equal_error(np.array([0.1, 0.2, 0.3, 0.6]), np.array([0.4, 0.7, 0.8, 0.9]))
    assert (at, rate) == (0.4, 0.25)
    at, rate = equal_error(rng.normal(0.3, 0.1, 5000), rng.normal(0.7, 0.1, 5000))
    assert at == pytest.approx(0.5, abs=0.02)
    assert rate == pytest.approx(0.0228, abs=0.006)


def test_sampled_pairs_are_what_they_say(described, rng):
    data, query, gallery = described
    labels = (data.query.pid, data.gallery.pid, data.query.camid, data.gallery.camid)
    same, different = sample_distances(query, gallery, labels, rng)
    table = 1 - query.astype(float) @ gallery.T.astype(float)
    apart = labels[2][:, None] != labels[3]
    own = labels[0][:, None] == labels[1]
    np.testing.assert_allclose(np.sort(same), np.sort(table[own & apart]), atol=1e-6)
    others = np.sort(table[~own & apart])
    place = np.clip(np.searchsorted(others, different), 1, len(others) - 1)
    assert np.minimum(np.abs(others[place] - different), np.abs(others[place - 1] - different)).max() < 1e-6
    assert len(sample_distances(query, gallery, labels, rng, most=7)[0]) == 7


def test_a_map_needs_pictures(rng):
    pytest.importorskip("sklearn")
    with pytest.raises(ReidError, match="at least 5 are needed"):
        feature_map(np.eye(4), np.array([1, 1, -1, -1]), np.zeros(4, int), rng)


# ---------------------------------------------------------------------- Grad-CAM


def small_model(classes=0):
    torch = pytest.importorskip("torch")
    from torch import nn

    from reid_models.batch import ModelOutput

    class Model(nn.Module):
        """Its first channel answers to red, the second to blue; the descriptor is their means."""

        def __init__(self):
            super().__init__()
            self.colours = nn.Conv2d(3, 2, 1, bias=False)
            self.colours.weight.data = torch.tensor([[1.0, -1, -1], [-1, -1, 1.0]])[:, :, None, None]
            self.act = nn.ReLU(inplace=True)
            self.head = nn.Linear(2, classes, bias=False) if classes else None
            if classes:
                self.head.weight.data = torch.eye(2)

        def forward(self, images):
            pooled = self.act(self.colours(images)).mean(dim=(2, 3))
            logits = [self.head(pooled)] if self.head else []
            return ModelOutput(nn.functional.normalize(pooled + 1e-6), logits=logits, pooled=pooled)

    return Model()


def red_and_blue():
    import torch

    images = torch.zeros(1, 3, 16, 8)
    images[:, 0, :6] = 1  # red above
    images[:, 2, 12:] = 1  # blue below
    return images


@pytest.mark.parametrize(("reference", "looks_up"), [([1.0, 0.0], True), ([0.0, 1.0], False)])
def test_grad_cam_looks_where_the_likeness_is(reference, looks_up):
    torch = pytest.importorskip("torch")
    from reid_models.gradcam import grad_cam

    maps = grad_cam(small_model(), red_and_blue(), reference=torch.tensor(reference), layer="act")
    assert maps.shape == (1, 16, 8)
    assert maps.max() == pytest.approx(1)
    above, below = maps[0, :6].mean(), maps[0, 12:].mean()
    assert (above > 0.9 and below < 0.01) if looks_up else (below > 0.9 and above < 0.01)


def test_grad_cam_against_the_formula():
    """The larger logit is the mean of the red channel, so α = (1/hw, 0) and the map is the red channel."""
    pytest.importorskip("torch")
    from reid_models.gradcam import grad_cam, map_layers

    model = small_model(classes=2).train()
    assert map_layers(model, red_and_blue()) == ["act", "colours"]
    maps = grad_cam(model, red_and_blue())
    np.testing.assert_allclose(maps[0, :6], 1)
    np.testing.assert_allclose(maps[0, 6:], 0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.act._forward_hooks
    both = grad_cam(small_model(), red_and_blue())  # without classes: everything that is described
    assert both[0, :6].min() > 0.9
    assert both[0, 12:].min() > 0.3


def test_grad_cam_says_what_is_wrong():
    pytest.importorskip("torch")
    from reid_models.gradcam import grad_cam

    with pytest.raises(ReidError, match="no layer 'nose'; it has colours, act"):
        grad_cam(small_model(), red_and_blue(), layer="nose")
    with pytest.raises(ReidError, match="'head' gives no map"):
        grad_cam(small_model(2), red_and_blue(), layer="head")


def test_grad_cam_of_a_true_model(described):
    torch = pytest.importorskip("torch")
    from reid_models.backbones import build_model
    from reid_models.gradcam import grad_cam
    from reid_models.pictures.attention import attention_picture

    data, *_ = described
    with torch.random.fork_rng():
        model = build_model("osnet_x0_25")
    images = load_images(data.query.take(np.arange(2)), model.input_hw)
    maps = grad_cam(model, normalise(torch.from_numpy(images)))
    assert maps.shape == (2, *model.input_hw)
    assert np.isfinite(maps).all()
    picture = attention_picture(images, maps)
    assert picture.shape == (2 * images.shape[2] + 12, 2 * (images.shape[3] + 4) + 4, 3)
