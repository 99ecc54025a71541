"""ResNet-50 (He et al. 2016) with the necks and heads of the papers.

The trunk is torchvision's; global average pooling gives 2048 numbers per picture, and a neck says what is compared:

- ``none``: the pooled feature itself (label smoothing and confidence penalty).
- ``bn``: batch-normalised, and that is what all losses see (Sabri et al., section 3.4).
- ``bnneck``: pair losses see the feature before, classifier and descriptor after a batch normalisation without
  trainable shift (Luo et al. 2019; the baselines of FIDI).
- ``bottleneck512``: Linear 2048 → 512 and batch normalisation (the baseline of sparse label smoothing, section 5.3).
- ``vib``: the variational information bottleneck, 1024-d; classified by a sample, compared by its mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reid_models.batch import ModelOutput
from reid_models.errors import ReidError

POOLED = 2048
NECKS = ("none", "bn", "bnneck", "bottleneck512", "vib")
_VIB, _BOTTLENECK = 1024, 512
ATTRIBUTE_INPUTS = 16
"""Q of Sabri et al.: inputs of each attribute's two-way classifier."""


class Trunk(nn.Module):
    """(n, 3, h, w) → (n, 2048, h/32, w/32), or h/16 and w/16 with ``last_stride=1``; torchvision's parameter names."""

    def __init__(self, last_stride: int = 1) -> None:
        """Build it with random weights."""
        super().__init__()
        net = _torchvision().resnet50(weights=None)
        self.conv1, self.bn1 = net.conv1, net.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if last_stride == 1:
            keep_resolution(self.layer4)
        elif last_stride != 2:
            raise ReidError(f"resnet50: 'last_stride' is {last_stride!r}, expected 1 or 2")

    def stem(self, images: Tensor) -> Tensor:
        """Up to the first pooling: (n, 64, h/4, w/4)."""
        return F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The last map."""
        maps = self.stem(images)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = layer(maps)
        return maps


class AttributeHead(nn.Module):
    """(n, M·Q) → (n, M, 2) cosines between each attribute's Q inputs and its two class weights.

    Sabri et al., eq. (3): inputs and weights are normalised, so that the loss can scale by s and add its margin to
    the angle. Row ``[:, :, 1]`` stands for "has the attribute".
    """

    def __init__(self, attributes: int, inputs: int = ATTRIBUTE_INPUTS) -> None:
        """``attributes`` classifiers of ``inputs`` numbers each."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(attributes, 2, inputs))
        nn.init.normal_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """The cosines, float32."""
        count, _, inputs = self.weight.shape
        x = F.normalize(features.float().reshape(-1, count, 1, inputs), dim=3)
        # multiplied and summed, not matmul: autocast would turn that to half precision
        return (x * F.normalize(self.weight.float(), dim=2)).sum(3)


class ResNet50(nn.Module):
    """A trunk, a neck, and classifiers where asked for.

    What ``forward`` gives: ``pooled`` is the pooled feature, unnormalised; with attributes only its identity part
    (2048 − 16·M numbers; the last 16·M are the attributes'). ``features`` holds one tensor, unnormalised: the pooled
    feature (``none``, ``bnneck``), or what the neck makes of it. ``logits`` are plain linear ones;
    ``attribute_logits`` are cosines (see :class:`AttributeHead`).

    Attributes:
        dim, input_hw, name: as of every backbone.
        feature_dims, pooled_dim, attributes: sizes of ``features``, of ``pooled``, number of attributes.
        generator: draws the noise of the variational bottleneck, on its own device; None for torch's default one.
    """

    def __init__(self, num_classes: int, last_stride: int, neck: str, attributes: int,
                 input_hw: tuple[int, int]) -> None:
        """See :func:`resnet50`."""
        super().__init__()
        self.name, self.input_hw, self.kind, self.attributes = "resnet50", input_hw, neck, attributes
        self.generator: torch.Generator | None = None
        self.trunk = Trunk(last_stride)
        self.pooled_dim = POOLED - ATTRIBUTE_INPUTS * attributes
        self.neck, self.dim = _neck(neck, self.pooled_dim)
        self.feature_dims = [self.dim]
        self.attribute_head = AttributeHead(attributes) if attributes else None
        self.classifier = classifier(self.dim, num_classes, bias=neck in ("none", "bottleneck512", "vib"))

    def forward(self, images: Tensor) -> ModelOutput:
        """(n, 3, h, w) pictures, normalised by ImageNet's statistics → what the model says of them."""
        pooled = self._pool(images)
        after = self.neck(pooled).float()
        kept = after[:, : self.dim]
        output = ModelOutput(F.normalize(kept), pooled=pooled[:, : self.pooled_dim])
        output.features = [output.pooled if self.kind == "bnneck" else kept]  # type: ignore[list-item]
        if self.kind == "vib":
            output.mu, output.log_var = after.chunk(2, dim=1)
            if self.training:
                kept = kept + torch.exp(0.5 * output.log_var) * self._noise(kept)
        if self.classifier is not None:
            output.logits = [self.classifier(kept)]
        if self.attribute_head is not None:
            source = after if self.kind == "bn" else pooled
            output.attribute_logits = self.attribute_head(source[:, self.pooled_dim :])
        return output

    def descriptor_only(self, images: Tensor) -> Tensor:
        """(n, dim) unit rows."""
        return F.normalize(self.neck(self._pool(images)).float()[:, : self.dim])

    def _pool(self, images: Tensor) -> Tensor:
        return self.trunk(images).float().mean((2, 3))

    def _noise(self, like: Tensor) -> Tensor:
        # A generator belongs to one device; drawn there, so that a run on the CPU can be repeated on a GPU.
        device = like.device if self.generator is None else self.generator.device
        return torch.randn(like.shape, generator=self.generator, device=device).to(like.device)


def resnet50(num_classes: int = 0, *, last_stride: int = 1, neck: str = "bnneck", attributes: int = 0,
             pretrained: str | None = None, input_hw: tuple[int, int] = (256, 128)) -> ResNet50:
    """ResNet-50 for re-identification.

    Args:
        num_classes: people of the training set; 0 for no classifier.
        last_stride: 2 as published, or 1 for a last map of twice the height and width.
        neck: ``none``, ``bn``, ``bnneck``, ``bottleneck512`` or ``vib``; see the module's text.
        attributes: M two-way attribute heads of 16 inputs each, taken from the 2048 numbers (Sabri et al.).
        pretrained: ``imagenet`` (torchvision's weights, from its cache or the network), the path of a file with
            weights, or None.
        input_hw: height and width in pixels of the pictures it is trained with.

    Raises:
        ReidError: options that do not go together, or weights that cannot be had.
    """
    if neck not in NECKS:
        raise ReidError(f"resnet50: unknown neck {neck!r}; known: {', '.join(NECKS)}")
    if attributes and neck in ("vib", "bottleneck512"):
        raise ReidError(f"resnet50: attributes are split from the 2048-d feature, which the neck '{neck}' replaces")
    if not 0 <= attributes < POOLED // ATTRIBUTE_INPUTS:
        raise ReidError(f"resnet50: {attributes} attributes of {ATTRIBUTE_INPUTS} inputs each do not fit into {POOLED}")
    model = ResNet50(num_classes, last_stride, neck, attributes, checked_size(input_hw))
    load_trunk(model.trunk, pretrained)
    return model


def checked_size(input_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the input as integers.

    Raises:
        ReidError: they are not two, or not within 32 … 4096 pixels.
    """
    if len(input_hw) != 2 or not all(32 <= side <= 4096 for side in input_hw):
        raise ReidError(f"'input_hw' is {input_hw!r}, expected height and width from 32 to 4096 pixels")
    return int(input_hw[0]), int(input_hw[1])


def keep_resolution(layer4: nn.Module) -> None:
    """Make the last stage's stride 1."""
    for module in layer4.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)


def classifier(dim: int, num_classes: int, bias: bool = False) -> nn.Linear | None:
    """A linear classifier that starts undecided, or None for no classes."""
    if not num_classes:
        return None
    linear = nn.Linear(dim, num_classes, bias=bias)
    nn.init.normal_(linear.weight, std=0.001)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def load_trunk(trunk: Trunk, pretrained: str | None) -> None:
    """Fill a trunk with ImageNet's weights, or with those of a file (torchvision's names, or a model's of ours).

    Raises:
        ReidError: they cannot be fetched or read, or belong to another network.
    """
    if pretrained is None:
        return
    if pretrained == "imagenet":
        tensors, where = _imagenet(), "ImageNet weights"
    else:
        from reid_models.weights import read_tensors

        tensors, where = read_tensors(pretrained), str(pretrained)
    names = set(trunk.state_dict())
    found = {key: value for name, value in tensors.items() if (key := _trunk_name(name)) in names}
    # Absent from files of early PyTorch versions, and of no use here.
    missing = [name for name in names - set(found) if not name.endswith("num_batches_tracked")]
    if missing:
        raise ReidError(f"{where}: no weights of a ResNet-50 ({min(missing)} and {len(missing) - 1} more are missing)")
    try:
        trunk.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise ReidError(f"{where}: weights of another network than ResNet-50 (their shapes differ)") from error


def _trunk_name(name: str) -> str:
    for prefix in ("module.", "model.", "backbone.", "base.", "trunk."):
        name = name.removeprefix(prefix)
    return name


def _imagenet() -> Mapping[str, Tensor]:
    """The weights of He et al.'s schedule (torchvision's first version), which the papers start from."""
    url = _torchvision().ResNet50_Weights.IMAGENET1K_V1.url
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # network, disk, a checksum, a damaged file: all have their own classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ReidError(
            f"ImageNet weights cannot be fetched ({reason}); download {url} elsewhere and give its path as 'pretrained'"
        ) from error


def _torchvision() -> Any:
    try:
        import torchvision.models as models
    except ImportError as error:
        raise ReidError(f"resnet50 needs torchvision, which cannot be imported ({error}); pip install torchvision"
                        ) from error
    return models


def _neck(kind: str, kept: int) -> tuple[nn.Module, int]:
    """The neck over all 2048 numbers, and how many of its outputs are compared."""
    if kind == "none":
        return nn.Identity(), kept
    if kind in ("bn", "bnneck"):
        norm = nn.BatchNorm1d(POOLED)
        norm.bias.requires_grad_(kind == "bn")
        return norm, kept
    if kind == "vib":
        return nn.Linear(POOLED, 2 * _VIB), _VIB
    return nn.Sequential(nn.Linear(POOLED, _BOTTLENECK), nn.BatchNorm1d(_BOTTLENECK)), _BOTTLENECK
