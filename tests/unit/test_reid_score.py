"""From a dataset and an embedder to figures, also through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from reid_scene import make_market

from mctrack.commands.eval import eval_command
from mctrack.errors import ConfigError
from reid_models import ReidError, load
from reid_models.data import ReidDataset, ReidImages, read_dataset
from reid_models.evaluation import evaluate, evaluate_rows
from reid_models.rerank import ecn
from reid_models.score import embed_images, score_features, score_reid


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return make_market(tmp_path_factory.mktemp("market"), identities=20, cameras=3)


@pytest.fixture(scope="module")
def described(market):
    data, embedder = read_dataset("market1501", market), load("histogram")
    return data, embed_images(data.query, embedder), embed_images(data.gallery, embedder)


def labels(data):
    return data.query.pid, data.gallery.pid, data.query.camid, data.gallery.camid


def test_batches_and_threads_change_nothing(described):
    data, query, _ = described
    told = []
    again = embed_images(data.query, load("histogram"), batch=7, threads=3, progress=lambda *done: told.append(done))
    assert np.array_equal(query, again)
    assert told == [(min(k, 30), 30) for k in range(7, 42, 7)]
    assert embed_images(ReidImages.none(), load("histogram")).shape[0] == 0


def test_figures_are_those_of_the_protocol(described):
    data, query, gallery = described
    expected = evaluate(1 - query.astype(float) @ gallery.T.astype(float), *labels(data))
    figures = score_reid(data, load("histogram"), fidelity=True)
    assert figures["rank1"] == expected.rank1
    assert figures["rank10"] == expected.cmc(10)[9]
    assert figures["mAP"] == pytest.approx(expected.mean_average_precision, abs=1e-9)
    assert figures["mINP"] == pytest.approx(expected.mean_inverse_negative_penalty, abs=1e-9)
    assert (figures["queries"], figures["gallery"], figures["protocol"]) == (30, 64, "standard")
    assert figures["error_1"] > 0
    assert 0.5 < figures["rank1"] <= 1


def test_distractors_are_strangers_to_each_other(described):
    data = described[0]
    people = 3 * np.eye(40)
    query, gallery = people[data.query.pid], people[data.gallery.pid]
    perfect = score_features(data, query, gallery, fidelity=True)
    assert (perfect["error_1"], perfect["error_2"]) == (0, 0)
    more = ReidImages(data.gallery.paths[:5], np.zeros(5, np.int64), data.gallery.camid[:5])
    with_more = ReidDataset("market1501", data.train, data.query, ReidImages(
        (*data.gallery.paths, *more.paths), np.concatenate([data.gallery.pid, more.pid]),
        np.concatenate([data.gallery.camid, more.camid])))
    far = np.concatenate([gallery, -5 * np.eye(40)[:5]])
    counted = score_features(with_more, query, far, fidelity=True)
    assert (counted["error_1"], counted["error_2"]) == (0, 0)


def test_reranked_figures(described):
    data, query, gallery = described
    figures = score_features(data, query, gallery, rerank="ecn", rerank_options={"t": 2, "q": 3})
    expected = evaluate(ecn(query, gallery, t=2, q=3), *labels(data))
    assert figures["mAP"] == pytest.approx(expected.mean_average_precision, abs=1e-9)
    assert figures["rerank"] == "ecn"
    with pytest.raises(ReidError, match=r"re-ranking ecn: .*'colour'"):
        score_features(data, query, gallery, rerank="ecn", rerank_options={"colour": 2})


def test_rows_in_pieces_equal_the_whole(rng):
    distmat = rng.random((20, 50))
    who = (rng.integers(0, 6, 20), rng.integers(-1, 6, 50), rng.integers(0, 3, 20), rng.integers(0, 3, 50))
    pieces = evaluate_rows(((k, distmat[k : k + 6]) for k in range(0, 20, 6)), *who)
    whole = evaluate(distmat, *who)
    assert np.array_equal(pieces.query, whole.query)
    assert np.array_equal(pieces.average_precision, whole.average_precision)


def test_pooled_queries(described):
    data, query, gallery = described
    known = data.gallery.pid > 0
    asking = ReidDataset("x", data.train, data.gallery.take(known), data.gallery)
    figures = score_features(asking, gallery[known], gallery, multi_query=True)
    assert figures["queries"] == 30  # a person in a camera is one query
    assert score_features(asking, gallery[known], gallery)["queries"] == 60
    assert figures["mAP"] > score_features(data, query, gallery)["mAP"] - 0.1


@pytest.mark.parametrize("protocol", ["single_gallery_shot", "random_gallery", "random_halves"])
def test_other_protocols(described, protocol):
    data, query, gallery = described
    keep = data.gallery.pid > 0
    known = ReidDataset("x", data.train, data.query, data.gallery.take(keep))
    first, again, other = (score_features(known, query, gallery[keep], protocol=protocol, seed=s, choices=3)
                           for s in (1, 1, 2))
    assert first == again
    assert first["mAP"] != other["mAP"]
    assert 0.3 < first["rank1"] <= first["rank5"] <= 1
    with pytest.raises(ReidError, match="re-ranking goes with the standard protocol"):
        score_features(known, query, gallery[keep], protocol=protocol, rerank="ecn")


def test_what_cannot_be_scored(described):
    data, query, gallery = described
    with pytest.raises(ReidError, match="nobody to ask for: 0 queries"):
        score_reid(ReidDataset("x", data.train, data.query.take([]), data.gallery), load("histogram"))
    with pytest.raises(ReidError, match="unknown re-ranking 'k'; known: k_reciprocal, ecn"):
        score_features(data, query, gallery, rerank="k")
    with pytest.raises(ReidError, match="unknown protocol 'mine'"):
        score_features(data, query, gallery, protocol="mine")


# ---------------------------------------------------------------------- the command


def command(*arguments):
    return CliRunner().invoke(eval_command, [str(a) for a in arguments])


def test_the_command_writes_the_figures(market, described, tmp_path):
    data, query, gallery = described
    done = command("--benchmark", "market1501", "--root", market, "--reid", "histogram", "--json", tmp_path / "f.json",
                   "--markdown", tmp_path / "f.md", "--set", "fidelity=true")
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["mAP"] == pytest.approx(score_features(data, query, gallery)["mAP"])
    assert figures["embedder"] == "histogram"
    assert f"{100 * figures['mAP']:.1f}" in done.output
    head, line, row = (tmp_path / "f.md").read_text().splitlines()
    assert head.count("|") == line.count("|") == row.count("|")
    assert "Error-I" in head


def test_the_command_reranks(market):
    done = command("--benchmark", "market1501", "--root", market, "--reid", "histogram", "--rerank", "k_reciprocal",
                   "--json", "-")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rerank"] == "k_reciprocal"


@pytest.mark.parametrize(("arguments", "message"), [
    (("--benchmark", "market1501"), "needs --root DIR"),
    (("--benchmark", "market1501", "--root", "."), "needs --reid NAME"),
    (("--benchmark", "market1501", "--root", "nowhere", "--reid", "histogram"), "there is no folder nowhere"),
    (("--benchmark", "market15", "--root", ".", "--reid", "histogram"), "did you mean 'market1501'"),
    (("--benchmark", "market1501", "--root", ".", "--reid", "histogram", "--gt", "gt.txt"), "--gt has no meaning"),
    (("--benchmark", "market1501", "--root", ".", "--reid", "histogram", "--set", "boxes"), "expected KEY=VALUE"),
    (("--benchmark", "viper", "--root", ".", "--reid", "histogram", "--split", "x y"), "VIPeR|split"),
    (("--benchmark", "market1501", "--root", ".", "--reid", "histogram", "--set", "seed=x"), "seed=x: expected"),
    (("--rerank", "ecn"), "needs --benchmark NAME"),
])  # fmt: skip
def test_the_command_says_what_is_wrong(arguments, message):
    done = command(*arguments)
    assert isinstance(done.exception, ConfigError), done.output
    import re

    assert re.search(message, str(done.exception))
    assert "\n" not in str(done.exception)
