"""``mctrack train-detector``: the embedded person detector from nothing."""

from __future__ import annotations

import click


@click.command()
@click.option("--data", required=True, metavar="BANK", help="Cut-outs and backgrounds ('mctrack synth cutouts').")
@click.option("--out", "out_dir", required=True, metavar="DIR", help="Checkpoint and detector.onnx go here.")
@click.option("--steps", type=click.IntRange(1), default=8000, show_default=True, help="Batches to train.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Pictures in a batch.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Peak rate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same pictures and first weights.")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that make pictures.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads of the network; 0: one per core.")
@click.option("--precision", type=click.Choice(["bfloat16", "float32"]), default="bfloat16", show_default=True,
              help="Of the convolutions; float32 where the processor has no bfloat16.")
@click.option("--input-size", type=click.IntRange(64), default=512, show_default=True, help="Default side when used.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
              help="Where to train.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
def train_detector_command(
    data: str, out_dir: str, steps: int, batch: int, lr: float, seed: int, workers: int, threads: int, precision: str,
    input_size: int, device: str, resume: bool,
) -> None:  # fmt: skip
    """Train the small person detector on composed pictures and write DIR/detector.onnx.

    \b
    mctrack synth cutouts --people makehuman:DIR --out bank
    mctrack train-detector --data bank --out trained
    mctrack run --cams videos/cam*.mp4 --detector onnx --weights trained/detector.onnx
    """  # noqa: D301
    from pathlib import Path

    from mctrack.errors import ConfigError

    try:
        import torch

        from mctrack.detect.training.export import export
        from mctrack.detect.training.train import TrainOptions, train
    except ImportError as error:
        raise ConfigError(f"training needs torch and onnx ({error}): pip install 'mctrack[reid]'") from error
    from mctrack.detect.training.compose import Bank

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads:
        torch.set_num_threads(threads)
    options = TrainOptions(steps=steps, batch=batch, lr=lr, seed=seed, workers=workers, precision=precision)
    out = Path(out_dir)
    net = train(Bank(data), out, options, device, click.echo, resume)
    export(net, out / "detector.onnx", input_size)
    click.echo(f"wrote {out / 'detector.onnx'}")
