"""Going on with an interrupted run: its configuration, and what must not have changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mctrack.config import RunConfig, parse_config
from mctrack.errors import ConfigError, OutputError, SourceError
from mctrack.folder import STORE_FILE, begun
from mctrack.video.spec import CameraSpec

if TYPE_CHECKING:
    from mctrack.sinks.store import RunStore

FREE = (
    "quiet", "output.dir", "output.video", "output.video_height_px", "output.commit_s", "output.checkpoint_s",
    "video.queue",
)  # fmt: skip
"""Keys that may differ on resume: they say where, how often and what to show, and change no track."""


def stored_config(out: str | Path) -> RunConfig:
    """The configuration of the run in a folder, to be resumed with.

    Raises:
        OutputError: there is no run.
        ConfigError: it was made by another version, with other keys.
    """
    from mctrack.sinks.store import RunStore

    path = Path(out) / STORE_FILE
    if not path.is_file():
        raise OutputError(f"{out} holds no run to resume: there is no {STORE_FILE}")
    if not begun(path):
        raise OutputError(f"{out}: the run ended before it began: run it again without --resume")
    with RunStore.open(path) as store:
        config = parse_config(RunConfig, store.meta["config_yaml"], str(path))
    config.output.dir = str(out)
    return config


def to_keep(config: RunConfig, specs: Sequence[CameraSpec]) -> RunConfig:
    """The configuration as it is kept with the run: cameras by name, paths absolute, URLs without secrets."""
    from mctrack.video.cameras import shown_uri

    cams = [f"{s.name}={shown_uri(s.uri) if s.live else Path(s.uri).resolve()}" for s in specs]
    weights = config.detect.weights
    calib = config.calib and _absolute(config.calib)
    detect = replace(config.detect, name=_model(config.detect.name), weights=weights and _absolute(weights))
    reid = replace(config.reid, name=_model(config.reid.name))
    return replace(config, cams=cams, calib=calib, detect=detect, reid=reid)


def check_same(stored: RunConfig, given: RunConfig, specs: Sequence[CameraSpec], out: Path) -> None:
    """Refuse to go on with other options than the run began with.

    Args:
        stored: the configuration kept with the run.
        given: the one to go on with.
        specs: the cameras of ``given``.
        out: the run's folder.

    Raises:
        ConfigError: naming the first key that differs and both values.
    """
    before, now = _flat(asdict(stored)), _flat(asdict(to_keep(given, specs)))
    for key in sorted(before.keys() | now.keys()):
        if key not in FREE and before.get(key) != now.get(key):
            raise ConfigError(f"--resume: {key} was {before.get(key)} in {out} and is {now.get(key)} now; "
                              "leave it out, or start a new run with another --out")


def check_unchanged(store: RunStore, facts: Mapping[str, str], out: Path) -> None:
    """Refuse to go on with other inputs, models or code than the run began with.

    Args:
        store: the run's database.
        facts: name → value now, of what was kept in ``meta`` at the start.
        out: the run's folder.

    Raises:
        ConfigError: naming what changed.
    """
    kept = store.meta
    for name, now in facts.items():
        before = kept.get(name, now)
        if before != now:
            raise ConfigError(f"--resume: {name} is not what it was when {out} was begun ({before} then, {now} now); "
                              "start a new run with another --out")


def fingerprints(config: RunConfig, specs: Sequence[CameraSpec]) -> dict[str, str]:
    """Input → fingerprint: every recorded camera, and the files of weights or detections."""
    found = {s.name: _of_camera(s) for s in specs if not s.live}
    for key, name in (("detect.weights", config.detect.weights), ("reid.name", config.reid.name)):
        path = Path(name or "").expanduser()
        if name and path.is_file():
            found[key] = _of_file(path)
        elif name and path.is_dir():
            found[key] = _of_names(path, path.rglob("*.txt"))
    if config.calib is not None:
        from mctrack.geometry.site import peek_site

        found |= {f"calib {path.name}": _of_file(path) for path in peek_site(config.calib).files}
    return found


def _of_camera(spec: CameraSpec) -> str:
    from mctrack.video.cameras import image_folder_name, list_images

    path = Path(spec.uri)
    if spec.kind == "file":
        return _of_file(path)
    images = path / image_folder_name(path / "seqinfo.ini") if spec.kind == "sequence" else path
    return _of_names(path, list_images(images) if images.is_dir() else [])


def _of_file(path: Path) -> str:
    from mctrack.sinks.summary import hash_file

    return hash_file(path)


def _of_names(folder: Path, files: Any) -> str:
    """Hash of files' names and sizes: reading every picture would take too long."""
    digest = hashlib.sha256()
    try:
        for path in sorted(files):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error
    return f"sha256-names:{digest.hexdigest()}"


def _model(name: str) -> str:
    """A path to a model, made absolute; names stay, though a folder may be called so."""
    return _absolute(name) if Path(name).suffix else name


def _absolute(name: str) -> str:
    """A path that exists, made absolute."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat
