"""Terms of a recipe become one criterion; mistakes in them become one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from reid_models.batch import ModelOutput, Target  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.losses import LOSSES, build_criterion, extra_classes  # noqa: E402
from reid_models.losses.center import Center  # noqa: E402
from reid_models.losses.classification import CrossEntropy  # noqa: E402
from reid_models.losses.criterion import Sizes  # noqa: E402
from reid_models.losses.pairs import triplet_loss  # noqa: E402

N, C, M = 8, 4, 3
SMOOTH = {"name": "cross_entropy", "label_smoothing": 0.1}
AM0 = {"name": "angular_margin", "on": "features", "margin": 0.0, "scale": 14}
AM = AM0 | {"margin": 0.5}
BH = {"name": "triplet", "on": "features", "mining": "hard", "margin": 0.3}
RECIPES = {
    "CE": [{"name": "cross_entropy", "weight": 2}],
    "LS": [SMOOTH | {"weight": 2}],
    "CP": [{"name": "cross_entropy", "weight": 3}, {"name": "confidence_penalty", "weight": 0.085, "reduction": "sum"}],
    "VIB": [{"name": "cross_entropy", "weight": 6}, {"name": "vib_kl", "weight": 0.01}],
    "SLSR": [{"name": "cross_entropy", "generated": "soft", "noise_layer": "generated"}],
    "LSRO": [{"name": "cross_entropy", "generated": "uniform", "noise_layer": "generated"}],
    "all-in-one": [{"name": "cross_entropy", "generated": "extra_class"}],
    "pseudo-label": [{"name": "cross_entropy", "generated": "predicted"}],
    "FIDI": [SMOOTH, {"name": "fidi", "on": "pooled", "alpha": 1.05, "beta": 0.5}],
    "BTL": [SMOOTH, BH | {"on": "pooled"}, {"name": "center", "on": "pooled", "weight": 0.0005}],
    "BCL": [SMOOTH, {"name": "contrastive", "on": "pooled", "mining": "hard", "margin": 1.0}],
    "MGN-FIDI": [{"name": "cross_entropy"}, {"name": "fidi", "on": "features"}],
    "AM0": [AM0],
    "AM": [AM],
    "BH": [BH],
    "AM0BH": [AM0, BH | {"weight": 0.43}],
    "AM0BH1": [AM0, BH | {"normalise": True, "weight": 0.43}],
    "AMBH": [AM, BH | {"weight": 0.43}],
    "AM0BHsp": [AM0, BH | {"margin": "softplus", "weight": 0.43}],
    "AM0BH-Attr": [AM0, BH | {"weight": 0.33}, {"name": "attributes", "weight": 0.25, "scale": 14, "margin": 0.0}],
    "ours, taught": [{"name": "imitation"}, {"name": "neighbourhood", "weight": 0.5}],
    "Robust-ReID a": [SMOOTH],
    "Robust-ReID b": [SMOOTH, BH | {"mining": "all"}],
    "Robust-ReID e": [SMOOTH, BH | {"mining": "soft"}],
    "Robust-ReID i": [SMOOTH, {"name": "triplet", "on": "features", "mining": "soft", "margin": "softplus"}],
}


def output(seed: int = 0) -> ModelOutput:
    """What a model with everything would say; every tensor is a leaf that takes a gradient."""
    random = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).requires_grad_()

    cosines = (torch.rand(N, M, 2, generator=random) * 2 - 1).requires_grad_()
    return ModelOutput(leaf(N, 6), [leaf(N, 5), leaf(N, 7)], [leaf(N, C), leaf(N, C)], cosines, leaf(N, 3), leaf(N, 3),
                       leaf(N, 10))


def target() -> Target:
    return Target(torch.tensor([0, 0, 1, 1, 2, 2, 3, -1]), torch.zeros(N, dtype=torch.long),
                  generated=torch.tensor([False] * 7 + [True]), attributes=torch.ones(N, M, dtype=torch.long),
                  teacher=torch.randn(N, 9, generator=torch.Generator().manual_seed(5)))


def build(terms, **more):
    sizes = {"num_classes": C, "feature_dims": [5, 7], "pooled_dim": 10, "attributes": M, "teacher_dim": 9}
    return build_criterion(terms, **(sizes | more))


def leaves(out: ModelOutput) -> list[torch.Tensor]:
    return [out.descriptor, *out.features, *out.logits, out.attribute_logits, out.mu, out.log_var, out.pooled]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_of_the_papers_gives_a_loss_and_gradients(name: str) -> None:
    criterion, out = build(RECIPES[name]), output()
    total, parts = criterion(out, target())
    total.backward()
    weights = [term.get("weight", 1.0) for term in RECIPES[name]]
    assert total.item() == pytest.approx(sum(w * v.item() for w, v in zip(weights, parts.values(), strict=True)))
    assert [*parts] == [term["name"] for term in RECIPES[name]]
    assert not any(v.requires_grad for v in parts.values())
    grads = [leaf.grad for leaf in leaves(out) if leaf.grad is not None]
    assert any((g != 0).any() for g in grads)
    assert all(torch.isfinite(g).all() for g in grads)
    assert all(p.grad is not None for p in criterion.parameters())


def test_every_loss_is_listed_in_a_recipe() -> None:
    assert {term["name"] for terms in RECIPES.values() for term in terms} == set(LOSSES)


def test_a_loss_per_branch_averaged_or_added() -> None:
    out, pid = output(), target().pid
    each = [triplet_loss(f, pid).item() for f in out.features]
    assert build([BH])(out, target())[0].item() == pytest.approx(sum(each) / 2)
    assert build([BH | {"branches": "sum"}])(out, target())[0].item() == pytest.approx(sum(each))
    assert build([BH | {"on": "pooled"}])(out, target())[0].item() == pytest.approx(
        triplet_loss(out.pooled, pid).item())


def test_losses_own_weights_of_the_right_width() -> None:
    shapes = [tuple(p.shape) for p in build([AM]).parameters()]
    assert shapes == [(C, 5), (C, 7)]
    assert [tuple(p.shape) for p in build([AM | {"on": "pooled"}]).parameters()] == [(C, 10)]
    assert [tuple(p.shape) for p in build([AM | {"on": "descriptor"}], descriptor_dim=6).parameters()] == [(C, 6)]
    with pytest.raises(ReidError, match="how wide the model's descriptor is"):
        build([AM | {"on": "descriptor"}])


def test_weights_come_from_the_generator_only() -> None:
    state = torch.random.get_rng_state()
    first, second = build([AM]), build([AM])
    other = build([AM], generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_two_terms_of_one_name() -> None:
    _, parts = build([BH, BH | {"on": "pooled"}, BH | {"mining": "all"}])(output(), target())
    assert [*parts] == ["triplet", "triplet_2", "triplet_3"]


def test_state_survives_saving() -> None:
    terms = RECIPES["BTL"] + [AM, SMOOTH | {"noise_layer": "all"}]
    criterion, copy = build(terms), build(terms)
    optimiser = torch.optim.SGD(criterion.parameters(), 0.1)
    criterion(output(), target())[0].backward()
    optimiser.step()
    copy.load_state_dict(criterion.state_dict())
    assert copy(output(1), target())[0].item() == criterion(output(1), target())[0].item()


def test_extra_classes() -> None:
    assert extra_classes(RECIPES["all-in-one"]) == 1
    assert extra_classes(RECIPES["SLSR"]) == 0


def test_a_third_party_loss_by_path() -> None:
    criterion = build([{"name": "reid_models.losses.classification:CrossEntropy", "label_smoothing": 0.1}])
    assert criterion(output(), target())[0].item() == build([SMOOTH])(output(), target())[0].item()


@pytest.mark.parametrize(("terms", "message"), [
    ([], "expected a list of terms"),
    ({"name": "triplet"}, "expected a list of terms"),
    (["triplet"], "a term needs a name"),
    ([{"weight": 1}], "a term needs a name"),
    ([{"name": "tripplet"}], "unknown loss 'tripplet' (did you mean 'triplet'?)"),
    ([{"name": "triplet", "minning": "hard"}], "no option 'minning' (did you mean 'mining'?)"),
    ([{"name": "triplet", "sizes": 3}], "no option 'sizes'"),
    ([{"name": "angular_margin", "width": 3}], "no option 'width'"),
    ([{"name": "triplet", "mining": "harder"}], "triplet.mining: 'harder' is not one of all, hard, soft (did you mean"),
    ([{"name": "triplet", "margin": "softpuls"}], "(did you mean 'softplus'?)"),
    ([{"name": "triplet", "margin": -1}], "triplet.margin: expected at least 0"),
    ([{"name": "triplet", "margin": True}], "triplet.margin: expected a number, got True"),
    ([{"name": "triplet", "normalise": "yes"}], "triplet.normalise: expected true or false"),
    ([{"name": "triplet", "on": "logits"}], "triplet.on: 'logits' is not one of features, pooled, descriptor"),
    ([{"name": "triplet", "weight": -1}], "triplet.weight: expected at least 0"),
    ([{"name": "triplet", "weight": float("nan")}], "triplet.weight: expected a number"),
    ([{"name": "triplet", "branches": "all"}], "triplet.branches"),
    ([{"name": "fidi", "alpha": 1}], "fidi.alpha: expected a number above 1"),
    ([{"name": "fidi", "beta": 0}], "fidi.beta: expected a number above 0"),
    ([{"name": "contrastive", "reduction": "none"}], "contrastive.reduction"),
    ([{"name": "center", "rate": 2}], "center.rate: expected at most 1"),
    ([{"name": "vib_kl", "reduction": 1}], "vib_kl.reduction"),
    ([{"name": "no.such.module:Loss"}], "cannot be loaded from no.such.module:Loss"),
    ([{"name": "reid_models.losses.pairs:Quadruplet"}], "cannot be loaded"),
])
def test_mistakes_are_one_line(terms, message: str) -> None:
    with pytest.raises(ReidError) as caught:
        build(terms)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("term", "sizes", "message"), [
    (SMOOTH, {"num_classes": 0}, "reads the model's logits"),
    (AM, {"num_classes": 0}, "number of people"),
    (BH, {"feature_dims": []}, "reads the model's features"),
    ({"name": "fidi"}, {"pooled_dim": None}, "reads the model's pooled, and this model gives none (try on: features)"),
    ({"name": "attributes"}, {"attributes": 0}, "resnet50 with attributes"),
])
def test_what_the_model_does_not_give_is_found_before_training(term, sizes, message: str) -> None:
    with pytest.raises(ReidError) as caught:
        build([term], **sizes)
    assert message in str(caught.value)


def test_what_turns_out_to_be_missing() -> None:
    bare = ModelOutput(torch.zeros(N, 6))
    for terms in ([SMOOTH], [BH], [{"name": "vib_kl"}], [{"name": "fidi"}], [{"name": "attributes"}]):
        with pytest.raises(ReidError, match="this model gives none"):
            build(terms)(bare, target())
    out = output()
    out.features = out.features[:1]
    with pytest.raises(ReidError, match="built for 2 features, the model gives 1"):
        build([AM])(out, target())


def test_listing_the_losses_imports_no_torch() -> None:
    code = "import sys, reid_models.losses; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_autocast_changes_nothing() -> None:
    for terms in (RECIPES["AM0BH-Attr"], RECIPES["LSRO"], RECIPES["VIB"], RECIPES["BTL"]):
        outside = build(terms)(output(), target())[0]
        with torch.autocast("cpu", torch.bfloat16):
            inside = build(terms)(output(), target())[0]
        assert inside.dtype == torch.float32
        assert inside.item() == outside.item()


# ---------------------------------------------------------------------- centres


def test_center_loss_and_its_centres() -> None:
    loss = Center(Sizes(3), width=2, rate=0.5)
    x = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 3.0], [9.0, 9.0]], requires_grad=True)
    t = Target(torch.tensor([0, 0, 2, -1]), torch.zeros(4, dtype=torch.long))
    value = loss(x, t)
    value.backward()
    assert value.item() == pytest.approx((4 + 16 + 9) / 2 / 3)
    assert x.grad[:3].tolist() == [[pytest.approx(v / 3) for v in row] for row in x[:3].tolist()]
    assert (x.grad[3] == 0).all()
    # Σ(x − c) / (1 + count), half of it
    assert loss.centers.tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 0.75]]
    loss.eval()
    loss(x, t)
    assert loss.centers[0, 0] == 1.0
    nobody = loss(x, Target(torch.full((4,), -1), t.camid))
    assert nobody.item() == 0


def test_center_follows_a_still_cloud() -> None:
    loss, x = Center(Sizes(2), width=3), torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) + 5
    t = Target(torch.tensor([0, 0, 0, 1, 1, 1]), torch.zeros(6, dtype=torch.long))
    for _ in range(60):
        loss(x, t)
    assert torch.allclose(loss.centers, torch.stack([x[:3].mean(0), x[3:].mean(0)]), atol=1e-4)


def test_classes_can_be_used_alone() -> None:
    assert CrossEntropy(Sizes(C))(torch.zeros(2, C), Target(torch.tensor([0, 1]), torch.zeros(2))) > 1
