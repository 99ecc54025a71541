"""Every recipe trains from pictures to weights on a tiny generated dataset, and goes on exactly after any end."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from click.testing import CliRunner  # noqa: E402

from mctrack.commands.train_reid import train_reid_command  # noqa: E402
from mctrack.commands.tune_reid import tune_reid_command  # noqa: E402
from reid_models.backbones import robust_reid  # noqa: E402
from reid_models.data import read_dataset  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.recipe import Recipe, load_recipe, recipe_names  # noqa: E402
from reid_models.schedules import Schedule  # noqa: E402
from reid_models.train import Training, TrainOptions, train  # noqa: E402
from reid_models.weights import load_weights  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
QUIET = TrainOptions(device="cpu", threads=1, quiet=True, plots=False)
FIXED_SIZE = ("robust_reid", "ha_cnn")
"""Networks that read 160 × 64 only."""


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """One thread, a ResNet with one block per stage, a narrow Robust-ReID: the same parts in a tenth of the time."""
    before, threads, plans = torchvision.models.resnet50, torch.get_num_threads(), dict(robust_reid.PLANS)
    torch.set_num_threads(1)
    block = torchvision.models.resnet.Bottleneck
    torchvision.models.resnet50 = lambda weights=None: torchvision.models.ResNet(block, [1, 1, 1, 1])
    robust_reid.PLANS.update(dict.fromkeys(plans, robust_reid.Plan(8, (16, 16, 32), (1, 1, 1), 16)))
    yield
    robust_reid.PLANS.update(plans)
    torchvision.models.resnet50 = before
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from reid_scene import make_market

    return make_market(tmp_path_factory.mktemp("market"), identities=12, cameras=2, images=2, hw=(32, 16))


def tiny(name: str, *more: str) -> Recipe:
    """A recipe, cut down to one or a few steps of eight pictures."""
    sets = ["model.pretrained=null", "steps_per_epoch=2", "epoch_scale=0.0001", "rerank=false", "sampler.batch=8"]
    recipe = load_recipe(name)
    if recipe.sampler.name == "pk":
        sets += ["sampler.p=4", "sampler.k=2"]
    if not recipe.model.name.startswith(FIXED_SIZE):
        sets += ["input_hw=[32,32]", "data.store_hw=null", "data.augment.pad_px=2"]
    if recipe.generated is not None:
        sets += ["generated.images=6", "generated.gan_steps=1", "generated.feature_epochs=1",
                 "generated.gan={size: 16, width: 4, batch: 4}"]
    if recipe.swag is not None:
        sets += ["swag.samples=1"]
    return load_recipe(name, [*sets, *more])


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_trains(name: str, market: Path, tmp_path: Path) -> None:
    recipe = tiny(name)
    metrics = train(recipe, [read_dataset("market1501", market)], tmp_path, QUIET)
    assert metrics is not None
    assert metrics["identities"] == 6
    scores = metrics["scores"]["market1501"]
    assert all(0 <= scores[key] <= 100 for key in ("rank1", "mAP", "mINP"))
    assert ("swag" in metrics) == (recipe.swag is not None)
    if recipe.swag is not None:
        assert metrics["swag"]["collected"] >= 1
    assert metrics["images"] == 24 + (6 if recipe.generated else 0)
    rows = log(tmp_path)
    assert [np.isfinite(float(row["loss"])) for row in rows] == [True] * len(rows)
    model, card = load_weights(tmp_path / "weights.safetensors")
    assert card["model"] == recipe.model.name
    assert card["recipe"]["name"] == name
    assert card["calibration"] is not None
    with torch.no_grad():
        descriptor = model(torch.zeros(1, 3, *recipe.input_hw)).descriptor
    assert float(descriptor.norm()) == pytest.approx(1, abs=1e-5)
    for file in ("metrics.json", "scores.csv", "weights.json"):
        assert (tmp_path / file).stat().st_size > 0


def log(out: Path) -> list[dict[str, str]]:
    """The loss curve, without what the clock says."""
    with open(out / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_s"} for row in csv.DictReader(file)]


class Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_anywhere_it_goes_on_with_the_same_losses(market: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise, augmentation, epochs and SWAG; killed at several steps, and the last checkpoint lost once."""
    data = [read_dataset("market1501", market)]
    recipe = tiny("confidence-vib", "steps_per_epoch=4", "epoch_scale=0.01", "data.augment.jitter=0.5",
                  "swag={start_epoch: 100, every_epochs: 50, samples: 0, rank: 2}", "optimiser.lr=0.0001")
    whole = train(recipe, data, tmp_path / "whole", QUIET)
    assert whole is not None
    assert whole["steps"] == 9
    step = Training._step
    for die_at in (1, 4, 5, 8):
        def dying(self: Training, net: Any, number: int, at: int = die_at) -> Any:
            if number == at:
                raise Killed
            return step(self, net, number)

        with monkeypatch.context() as patch:
            patch.setattr(Training, "_step", dying)
            options = TrainOptions(die_at > 1, device="cpu", checkpoint_s=0, threads=1, quiet=True, plots=False)
            with pytest.raises(Killed):
                train(recipe, data, tmp_path / "parts", options)
        if die_at == 5:
            (tmp_path / "parts" / "checkpoints" / "checkpoint.last").write_bytes(b"lost in a power cut")
    options = TrainOptions(True, device="cpu", threads=1, quiet=True, plots=False)
    parts = train(recipe, data, tmp_path / "parts", options)
    assert parts is not None
    assert log(tmp_path / "parts") == log(tmp_path / "whole")
    a, b = (load_weights(tmp_path / x / "weights.safetensors")[0].state_dict() for x in ("whole", "parts"))
    for key, value in a.items():
        assert torch.equal(value, b[key]), key
    assert parts["scores"] == whole["scores"]


def test_another_recipe_or_other_data_are_not_gone_on_with(market: Path, tmp_path: Path) -> None:
    data = [read_dataset("market1501", market)]
    done = train(tiny("am0"), data, tmp_path, QUIET)
    again = TrainOptions(True, device="cpu", threads=1, quiet=True)
    assert train(tiny("am0"), data, tmp_path, again) == done
    with pytest.raises(ReidError, match=r"another recipe \(optimiser.lr: 0.001 before, 0.5 now"):
        train(tiny("am0", "optimiser.lr=0.5"), data, tmp_path, again)
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(ReidError, match=r"another recipe \(optimiser.lr: 0.001 before, 0.5 now"):
        train(tiny("am0", "optimiser.lr=0.5"), data, tmp_path, again)
    with pytest.raises(ReidError, match="other training pictures"):
        train(tiny("am0"), [*data, *data], tmp_path, again)


def test_killed_before_the_main_training_what_was_done_is_kept(market: Path, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """SLSR: the training for features is finished, the first DCGAN is not."""
    data, recipe = [read_dataset("market1501", market)], tiny("slsr")
    whole = train(recipe, data, tmp_path / "whole", QUIET)
    assert whole is not None

    def dying(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("reid_models.slsr.prepare_slsr", dying)
        with pytest.raises(Killed):
            train(recipe, data, tmp_path / "parts", QUIET)
    features = tmp_path / "parts" / "features" / "features.npy"
    made_ns = features.stat().st_mtime_ns
    call = ["--recipe", "slsr", "--data", str(market), "--out", str(tmp_path / "parts"), "--device", "cpu"]
    refused = CliRunner().invoke(train_reid_command, call)
    assert "holds a training already" in str(refused.exception)
    again = TrainOptions(True, device="cpu", threads=1, quiet=True, plots=False)
    parts = train(recipe, data, tmp_path / "parts", again)
    assert parts is not None
    assert features.stat().st_mtime_ns == made_ns
    assert parts["scores"] == whole["scores"]


@pytest.mark.parametrize(("steps", "scale"), [(10, 1.0), (101, 0.1), (37, 0.13), (11, 0.0301)])
def test_swag_takes_weights_at_the_last_step_of_every_cycle(steps: int, scale: float) -> None:
    spec = load_recipe("robust-reid")
    schedule, taken = Schedule(spec.schedule, steps, scale), []
    swag = SimpleNamespace(collect=lambda done: taken.append(done), count=0)
    training = SimpleNamespace(swag=swag, recipe=SimpleNamespace(swag=spec.swag, epoch_scale=scale), schedule=schedule,
                               order=SimpleNamespace(steps=steps))
    training._stretches = lambda done: Training._stretches(training, done)
    for done in range(1, schedule.total_steps + 1):
        training.model = done
        Training._collect(training, done)
    assert len(taken) == 15
    assert taken[-1] == schedule.total_steps
    for done in taken[:-1]:  # the rate has fallen to here, and rises with the next step
        assert schedule.factor(done - 2) > schedule.factor(done - 1) < schedule.factor(done)


def test_a_dataset_is_scored_by_its_own_protocol(market: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from reid_models.score import score_features
    from reid_models.train_score import EvaluationImages, describe

    data = replace(read_dataset("market1501", market), protocol="single_gallery_shot")
    metrics = train(tiny("am0", "rerank=true"), [data], tmp_path, QUIET)
    assert metrics is not None
    assert (metrics["protocols"], metrics["reranked"]) == ({"market1501": "single_gallery_shot"}, {})
    model = load_weights(tmp_path / "weights.safetensors")[0]
    sides = [describe(model, EvaluationImages(side, (32, 32), 1), 256, torch.device("cpu"))
             for side in (data.query, data.gallery)]
    expected = score_features(data, *sides)
    assert metrics["scores"]["market1501"]["mAP"] == pytest.approx(100 * expected["mAP"])
    assert metrics["scores"]["market1501"]["rank1"] == pytest.approx(100 * expected["rank1"])


def test_options_of_the_reader_are_passed_on(market: Path, tmp_path: Path) -> None:
    call = ["--recipe", "am0", "--data", str(market), "--dataset", "market1501", "--out", str(tmp_path)]
    wrong = CliRunner().invoke(train_reid_command, [*call, "--set", "data.options.boxes=labelled"])
    assert "has no option 'boxes'; it has: attributes" in str(wrong.exception)


def test_a_loss_that_explodes_ends_in_one_line(market: Path, tmp_path: Path) -> None:
    recipe = tiny("confidence-ce", "optimiser.lr=1e30", "epoch_scale=0.02", "steps_per_epoch=2")
    with pytest.raises(ReidError, match=r"the loss is (nan|inf) after step"):
        train(recipe, [read_dataset("market1501", market)], tmp_path, QUIET)


def test_shares_of_the_identities_are_nested(market: Path) -> None:
    from reid_models.train_data import training_set

    data = [read_dataset("market1501", market)]
    seen = {}
    for share in (0.25, 0.5, 0.75, 1.0):
        made = training_set(data, tiny("fidi", f"data.identities={share}"), torch.device("cpu"), 1)
        assert made.identities == round(6 * share)
        assert sorted(set(made.pid.tolist())) == list(range(made.identities))
        seen[share] = {row.numpy().tobytes() for row in made.images}
    assert seen[0.25] < seen[0.5] < seen[0.75] < seen[1.0]


def test_two_datasets_are_trained_on_jointly(market: Path, tmp_path: Path) -> None:
    data = read_dataset("market1501", market)
    metrics = train(tiny("am0bh"), [data, data], tmp_path, QUIET)
    assert metrics is not None
    assert (metrics["identities"], metrics["images"]) == (12, 48)


# ---------------------------------------------------------------------- the commands

SETS = [x for s in ("steps_per_epoch=2", "epoch_scale=0.0001", "sampler.p=4", "sampler.k=2", "input_hw=[32,32]",
                    "model.pretrained=null", "data.augment={flip: 0.5}") for x in ("--set", s)]


def test_command_trains_scores_and_fine_tunes(market: Path, tmp_path: Path) -> None:
    call = ["--recipe", "am0bh", "--data", str(market), "--device", "cpu", "--threads", "1", *SETS]
    first = CliRunner().invoke(train_reid_command, [*call, "--out", str(tmp_path / "a")], catch_exceptions=False)
    assert first.exit_code == 0
    for file in ("loss.png", "cmc.png", "distances-market1501.png", "weights.json"):
        assert (tmp_path / "a" / file).stat().st_size > 0
    assert re.search(r"market1501: rank-1 \d+\.\d, mAP \d+\.\d, mINP \d+\.\d; re-ranked \d+\.\d", first.output)
    again = CliRunner().invoke(train_reid_command, [*call, "--out", str(tmp_path / "a")])
    assert "holds a training already" in str(again.exception)
    tuned = CliRunner().invoke(train_reid_command, [
        *call, "--out", str(tmp_path / "b"), "--init", str(tmp_path / "a" / "weights.safetensors"),
        "--set", "optimiser.lr=1e-12"], catch_exceptions=False)
    assert tuned.exit_code == 0
    a, b = (load_weights(tmp_path / x / "weights.safetensors")[0].state_dict() for x in "ab")
    torch.testing.assert_close(a["trunk.layer4.0.conv1.weight"], b["trunk.layer4.0.conv1.weight"], atol=1e-6, rtol=0)
    wrong = CliRunner().invoke(train_reid_command, [
        "--recipe", "mgn", "--data", str(market), "--out", str(tmp_path / "c"), *SETS, "--init",
        str(tmp_path / "a" / "weights.safetensors")])
    assert "weights of another network" in str(wrong.exception)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--recipe", "am0bhh"], "did you mean 'am0bh'"),
    (["--recipe", "am0bh", "--dataset", "market"], "did you mean 'market1501'"),
    (["--recipe", "am0bh", "--device", "tpu"], "expected auto, cpu, cuda"),
    (["--recipe", "am0bh", "--set", "optimiser.lr"], "expected key=value"),
    (["--recipe", "robust-reid-g", "--set", "input_hw=[64,50]"], "\\[64, 50\\], expected .* multiple of 16"),
    (["--recipe", "am0bh", "--set", "loss.0.scal=1"], "no option 'scal'"),
    (["--recipe", "am0bh", "--set", "sampler.p=50", "--set", "model.pretrained=null"], "50 are needed"),
])
def test_a_mistake_is_one_line(market: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    call = [*arguments, "--data", str(market), "--out", str(tmp_path / "x"), "--set", "model.pretrained=null"]
    result = CliRunner().invoke(train_reid_command, call)
    assert re.search(message, str(result.exception))
    assert type(result.exception).__name__ in ("MctrackError", "ConfigError")
    assert "\n" not in str(result.exception)


def test_list_names_every_recipe() -> None:
    result = CliRunner().invoke(train_reid_command, ["--list"], catch_exceptions=False)
    assert len(result.output.splitlines()) == len(recipe_names())


def test_tuning_searches_and_goes_on(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    call = ["--recipe", "confidence-cp", "--data", str(market), "--out", str(tmp_path), "--device", "cpu", "--threads",
            "1", "--held-out", "0.34", "--quiet", *SETS, "--set", "sampler.batch=8", "--set", "epoch_scale=0.005"]
    step = Training._step

    def dying(self: Training, net: Any, number: int) -> Any:
        if number == 1 and len(list(tmp_path.glob("trial-*"))) == 2:
            raise Killed
        return step(self, net, number)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", dying)
        with pytest.raises(Killed):
            CliRunner().invoke(tune_reid_command, [*call, "--trials", "2"], catch_exceptions=False)
    result = CliRunner().invoke(tune_reid_command, [*call, "--trials", "2"], catch_exceptions=False)
    assert result.exit_code == 0
    best = json.loads((tmp_path / "best.json").read_text())
    assert set(best["set"]) == {"optimiser.lr", "loss.0.weight", "loss.1.weight"}
    assert 1e-5 <= best["set"]["optimiser.lr"] <= 1e-2
    assert len(list(tmp_path.glob("trial-*"))) == 2, "the killed candidate was tried again in its own folder"
    third = CliRunner().invoke(tune_reid_command, [*call, "--trials", "3"], catch_exceptions=False)
    assert third.exit_code == 0
    assert len(list(tmp_path.glob("trial-*"))) == 3


def test_sigterm_leaves_a_checkpoint_to_go_on_from(market: Path, tmp_path: Path) -> None:
    """A real process, a real signal, in the middle of an epoch."""
    code = ("import sys, torch\ntorch.set_num_threads(1)\n"
            "from mctrack.commands.train_reid import train_reid_command\ntrain_reid_command(sys.argv[1:])\n")
    call = [sys.executable, "-c", code, "--recipe", "robust-reid-g", "--data", str(market), "--out", str(tmp_path),
            "--device", "cpu", "--threads", "1", "--checkpoint-s", "3600", "--set", "sampler.p=2",
            "--set", "sampler.k=2", "--set", "rerank=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*call], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    assert "go on with --resume" in rest
    from reid_models.checkpoint import load_checkpoint

    state, warning = load_checkpoint(tmp_path / "checkpoints")
    assert warning is None
    assert state["done"] >= 1
    assert not (tmp_path / "metrics.json").exists()
