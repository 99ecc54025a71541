"""``mctrack eval --benchmark market1501 --reid NAME``: how well an embedder finds people again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

_ELSEWHERE = ("results", "sequences", "gt", "gt_scale", "html_file", "pictures_dir", "mistakes_dir", "compare",
              "config")
"""Options of the command that say something about tracking only."""


def asks_for_reid(options: dict[str, Any]) -> bool:
    """Whether the command's options are about a ReID dataset (``folder`` is one only together with ``--reid``)."""
    if options.get("reid") is not None or options.get("rerank") is not None:
        return True
    if options.get("benchmark") is None:
        return False
    from reid_models.data import DATASETS

    return options["benchmark"] in DATASETS and options["benchmark"] != "folder"


def evaluate_reid(benchmark: str | None, root: Path | None, reid: str | None, rerank: str | None = None,
                  settings: tuple[str, ...] = (), json_file: str | None = None, markdown_file: str | None = None,
                  split: str | None = None, out: Path | None = None, device: str = "auto", **others: Any) -> int:
    """Do what the options say and print the figures; returns the exit code.

    Args:
        benchmark: a ReID dataset.
        root: its folder.
        reid: the embedder, as ``reid.name`` of a run.
        rerank: ``k_reciprocal``, ``ecn`` or None.
        settings: ``key=value``: options of the dataset's reader (``boxes=labeled``, ``multi_query=true``) and
            ``protocol``, ``fidelity``, ``seed``.
        json_file, markdown_file: where to write the figures; ``-``: the terminal.
        split: the same as the setting ``split``.
        out: a folder for pictures: ranked queries, CMC, distances.
        device: ``auto``, ``cpu`` or ``cuda``.
        others: options of the command that are of no use here.

    Raises:
        MctrackError: one line that says what is wrong.
    """
    from mctrack.errors import ConfigError
    from reid_models import ReidError

    for name in _ELSEWHERE:
        if others.get(name):
            shown = name.removesuffix("_file").removesuffix("_dir").replace("_", "-")
            raise ConfigError(f"--{shown} has no meaning for a ReID benchmark")
    options = _settings((*settings, f"split={split}") if split is not None else settings)
    if benchmark is None or root is None or reid is None:
        missing = "--benchmark NAME" if benchmark is None else "--root DIR" if root is None else "--reid NAME"
        raise ConfigError(f"scoring an embedder needs {missing}: mctrack eval --benchmark market1501 --root DIR "
                          "--reid NAME")
    try:
        figures = _score(benchmark, root, reid, rerank, options, out, device)
    except ReidError as error:
        raise ConfigError(str(error)) from error
    _show(figures, json_file, markdown_file)
    return 0


def _settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """key=value as YAML reads the value."""
    import yaml

    from mctrack.errors import ConfigError
    from mctrack.strict_yaml import load_yaml

    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected KEY=VALUE")
        try:
            options[key] = load_yaml(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: not a value") from error
    return options


def _score(benchmark: str, root: Path, reid: str, rerank: str | None, options: dict[str, Any], out: Path | None,
           device: str) -> dict[str, Any]:
    from mctrack.errors import ConfigError
    from reid_models import load
    from reid_models.data import read_dataset
    from reid_models.score import embed_images, score_features

    how = {key: options.pop(key) for key in ("protocol", "fidelity", "seed", "choices") if key in options}
    for key, lowest in (("seed", 0), ("choices", 1)):
        if key in how and not (type(how[key]) is int and how[key] >= lowest):
            raise ConfigError(f"--set {key}={how[key]}: expected a whole number from {lowest}")
    dataset = read_dataset(benchmark, root, **options)
    embedder = load(reid, device)
    click.echo(dataset.describe(), err=True)
    query, gallery = (embed_images(images, embedder, progress=_progress(side))
                      for side, images in (("query", dataset.query), ("gallery", dataset.gallery)))
    pooled = bool(options.get("multi_query", False))
    figures = score_features(dataset, query, gallery, rerank=rerank, multi_query=pooled, **how)
    if out is not None:
        from reid_models.pictures import draw_all

        for path in draw_all(out, dataset, query, gallery):
            click.echo(str(path), err=True)
    return {"dataset": dataset.name, "embedder": embedder.name, "description": embedder.description, **figures}


def _progress(side: str) -> Any:
    """Prints on a terminal only."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        click.echo(f"\r{side}: {done} of {total}", nl=done == total, err=True)

    return show


def _rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    shown = [(name, f"{100 * figures[key]:.1f}") for name, key in
             (("rank-1", "rank1"), ("rank-5", "rank5"), ("rank-10", "rank10"), ("mAP", "mAP"), ("mINP", "mINP"))]
    shown += [(name, f"{figures[key]:.1f}") for name, key in (("Error-I", "error_1"), ("Error-II", "error_2"))
              if key in figures]
    return shown


def _show(figures: dict[str, Any], json_file: str | None, markdown_file: str | None) -> None:
    rows = _rows(figures)
    title = f"{figures['dataset']}, {figures['embedder']}"
    if figures["rerank"]:
        title += f", re-ranked by {figures['rerank']}"
    markdown = (f"| {title} | " + " | ".join(name for name, _ in rows) + " |\n|---"
                + "|---:" * len(rows) + "|\n|  | " + " | ".join(value for _, value in rows) + " |\n")
    for name, text in ((json_file, json.dumps(figures, indent=1) + "\n"), (markdown_file, markdown)):
        if name == "-":
            click.echo(text, nl=False)
        elif name:
            _write(Path(name), text)
    if "-" not in (json_file, markdown_file):
        click.echo(f"{title}: {figures['queries']} queries, {figures['gallery']} in the gallery, "
                   f"{figures['protocol']} protocol; in percent")
        click.echo("".join(f"{name:>9}" for name, _ in rows))
        click.echo("".join(f"{value:>9}" for _, value in rows))


def _write(path: Path, text: str) -> None:
    from mctrack.errors import OutputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
