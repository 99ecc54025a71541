"""``mctrack export-reid``: trained weights as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mctrack.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reid_models.data import ReidDataset


@click.command("export-reid")
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="FILE.onnx", type=click.Path(path_type=Path),
              help="File to write; with --half or --quarter also FILE.safetensors.")
@click.option("--half", is_flag=True, help="Weights as 16-bit numbers: half the size. Computes in 32 bits as before.")
@click.option("--quarter", is_flag=True, help="Weights as 8-bit numbers: a quarter of the size. Computes in 32 bits.")
@click.option("--graph-only", is_flag=True,
              help="With --quarter: leave the weights in WEIGHTS, which must have 8-bit ones and lie beside FILE.onnx.")
@click.option("--int8", is_flag=True, help="8-bit version; prints what it loses. Needs --data.")
@click.option("--data", metavar="ROOT", type=click.Path(path_type=Path),
              help="With --int8: folder of a dataset. Its training pictures calibrate, its others measure.")
@click.option("--dataset", metavar="NAME", default="folder", show_default=True, help="With --int8: layout of --data.")
@click.option("--crops", default=512, show_default=True, type=click.IntRange(64),
              help="With --int8: training pictures to calibrate with.")
def export_reid_command(weights: Path, out: Path, half: bool, quarter: bool, graph_only: bool, int8: bool,
                        data: Path | None, dataset: str, crops: int) -> None:
    """Export WEIGHTS (a .safetensors file that train-reid wrote) to ONNX, checked against torch."""
    from reid_models.errors import ReidError

    if int8 and data is None:
        raise click.UsageError("--int8 needs --data: pictures of people to calibrate with")
    if data is not None and not int8:
        raise click.UsageError("--data is for --int8 only")
    if half + quarter + int8 > 1:
        raise click.UsageError("--half, --quarter and --int8 exclude each other")
    if graph_only and not quarter:
        raise click.UsageError("--graph-only needs --quarter")
    bits = 16 if half else 8 if quarter else 32
    try:
        if bits < 32 and out.suffix.lower() == ".safetensors":
            _shrink(weights, out, bits)
            return
        _export(weights, out, bits, graph_only, crops, _dataset(dataset, data) if data is not None else None)
    except ReidError as error:
        raise WeightsError(str(error)) from error
    except ImportError as error:
        raise WeightsError(f"export-reid needs {error.name}, which is not here: install mctrack[reid]") from error


def _dataset(name: str, root: Path) -> ReidDataset:
    from reid_models.data import read_dataset

    return read_dataset(name, root)


def _shrink(weights: Path, out: Path, bits: int) -> None:
    from reid_models.weights import shrink_weights

    shrink_weights(weights, out, bits)
    click.echo(f"{out}  ({out.stat().st_size / 1e6:.1f} MB)")


def _export(weights: Path, out: Path, bits: int, graph_only: bool, crops: int, dataset: ReidDataset | None) -> None:
    from reid_models.card import read_card
    from reid_models.export import BATCHES, export_onnx

    height, width = read_card(weights)["input_hw"]
    chosen = None if dataset is None else _sample(dataset, (height, width), crops)
    report = export_onnx(weights, out, bits=bits, graph_only=graph_only, int8=dataset is not None,
                         calibration_crops=chosen)
    batches = ", ".join(map(str, BATCHES))
    click.echo(f"{report.path}  (largest difference to torch at batches of {batches}: {report.max_difference:.1e})")
    if report.int8 is None or dataset is None:
        return
    click.echo(f"8 bits, {report.int8}")
    if len(dataset.query):
        _compare_retrieval(weights, out, dataset, (height, width))


def _sample(dataset: ReidDataset, hw: tuple[int, int], count: int) -> list[NDArray[np.uint8]]:
    """Training pictures, evenly spread: neighbours in the list often show one person."""
    import numpy as np

    from reid_models.data import load_images

    rows = np.unique(np.linspace(0, max(len(dataset.train) - 1, 0), count).astype(int))
    images = dataset.train.take(rows) if len(dataset.train) else dataset.train
    return _crops(load_images(images, hw))


def _crops(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """(n, 3, h, w) RGB → n times (h, w, 3) BGR."""
    return list(pixels[:, ::-1].transpose(0, 2, 3, 1))


def _compare_retrieval(weights: Path, out: Path, dataset: ReidDataset, hw: tuple[int, int]) -> None:
    from reid_models.onnx import OnnxEmbedder
    from reid_models.torch_embedder import load_trained

    for words, embedder in (("full", load_trained(weights, "cpu")), ("8 bits", OnnxEmbedder(out, "cpu"))):
        scores = _scores(embedder, dataset, hw)
        click.echo(f"{words:>6}: rank-1 {scores.rank1:.1%}, mAP {scores.mean_average_precision:.1%} "
                   f"({dataset.name}, {len(dataset.query)} queries, {len(dataset.gallery)} in the gallery)")


def _scores(embedder: Any, dataset: ReidDataset, hw: tuple[int, int]) -> Any:
    import numpy as np

    from reid_models.data import load_images
    from reid_models.evaluation import evaluate_features

    rows = []
    for images in (dataset.query, dataset.gallery):
        # A piece at a time: the pictures of a large gallery need not fit into memory together.
        pieces = [images.take(np.arange(i, min(i + 256, len(images)))) for i in range(0, len(images), 256)]
        rows.append(np.concatenate([embedder.embed(_crops(load_images(piece, hw))) for piece in pieces]))
    query, gallery = dataset.query, dataset.gallery
    return evaluate_features(rows[0], rows[1], query.pid, gallery.pid, query.camid, gallery.camid)
