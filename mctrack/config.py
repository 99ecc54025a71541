"""Configuration: dataclasses with defaults, merged strictly from YAML, ``key=value`` and the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from mctrack.config_checks import check_numbers
from mctrack.errors import ConfigError, redact, suggest
from mctrack.strict_yaml import load_yaml

REBIRTH_S = 30.0
"""``track.rebirth_s`` of a tracker that is left to itself."""


@dataclass
class VideoConfig:
    """Reading cameras and matching their frames by time."""

    start: int = 0
    """First frame of every camera, 0-based."""
    max_frames: int | None = None
    """Stop after this many frames of each camera."""
    offset_s: dict[str, float] = field(default_factory=dict)
    """Seconds to add to a camera's clock, by camera name: 1.3 if the camera's clock is 1.3 s behind."""
    match_tolerance_s: float | None = None
    """Frames of different cameras no further apart than this belong together; default: half a frame interval."""
    queue: int = 8
    """Frames decoded ahead, per camera."""
    timeout_s: float = 3.0
    """How long to wait for a network camera before trying again."""
    reconnects: int = 10
    """Attempts to reach a lost network camera again before giving it up (−1: for ever)."""
    folder_fps: float = 25.0
    """Frame rate of image folders that do not say their own."""


@dataclass
class DetectConfig:
    """Finding people."""

    name: str = "auto"
    """auto, embedded, background, file, onnx, torchvision, yolo, or ``package.module:Class``."""
    weights: str | None = None
    """Weights (yolo, onnx, torchvision) or detections (file: one file, or a folder with <camera>.txt)."""
    score: float = 0.1
    """Detections below this score are dropped; the tracker has its own, higher thresholds."""
    nms_iou: float = 0.65
    """Of two detections that overlap by more than this IoU the weaker one is dropped; 1: never."""
    input_size: int | None = None
    """Side of the network's input in pixels; default: what the weights say."""
    max_detections: int = 500
    """At most this many in a frame, the best scores first."""
    min_height_px: float = 8.0
    """Smaller detections are dropped."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the detector's constructor."""


@dataclass
class ReidConfig:
    """Describing how people look."""

    name: str = "robust_reid_compact"
    """A name (``histogram``: untrained, quick), a path to an ONNX embedder, or ``none`` for motion only."""
    min_height_px: float = 24.0
    """Smaller crops tell nothing and are not embedded."""
    min_score: float = 0.3
    """Detections with a lower score are not embedded."""


@dataclass
class TrackConfig:
    """One camera's tracker. Times in seconds, lengths in box heights."""

    method: str = "fused"
    """``fused`` (the keys below), ``motdt`` (Long et al. 2018; its numbers go into ``options``)."""
    options: dict[str, float] = field(default_factory=dict)
    """Numbers of a method that has its own, e.g. ``{appearance: 0.5}`` for ``motdt``."""
    motion: str = "kalman"
    """Motion model: ``kalman`` (batched) or ``filterpy``."""
    noise: dict[str, float] = field(default_factory=dict)
    """Overrides of ``MotionNoise``, e.g. ``{measure: 0.05}``."""
    high_score: float = 0.6
    """Detections from here on take part in the first assignment."""
    low_score: float = 0.1
    """Detections from here to ``high_score`` may only continue a track, never start one."""
    new_score: float = 0.8
    """A detection without a track starts one from this score on."""
    crowd_sigma: float = 0.5
    """A better box overlapping by IoU o lowers a score by exp(−o²/sigma) (Soft-NMS); 0: never."""
    n_init: int = 4
    """A track is confirmed after this many detections."""
    max_age_s: float = 1.5
    """A track that is not seen is followed by motion for this long."""
    buffer: float = 0.0
    """Boxes are enlarged by this share on every side before their overlap is taken."""
    buffer_growth: float = 0.0
    """Growth of the buffer per second without a detection."""
    gate: float = 30.0
    """Largest squared Mahalanobis distance (4 degrees of freedom) of a pair."""
    max_cost: float = 0.75
    """Largest fused cost of a pair, 0…1."""
    weight_overlap: float = 0.7
    weight_motion: float = 0.7
    weight_score: float = 0.1
    weight_appearance: float = 0.5
    """Weight of appearance where it is fully distinctive."""
    tentative_cost: float = 0.1
    """Added for tentative tracks."""
    low_iou: float = 0.4
    """Smallest IoU in the pass for low scores."""
    low_gap_s: float = 0.0
    """Tracks unseen for longer take no low-score detection."""
    low_s: float = 2.0
    """Low scores alone continue a track for so long: what they then still see is a thing where somebody was."""
    duplicate_iou: float = 0.7
    """A detection that overlaps a track seen in this frame this much starts no track."""
    camera_motion: bool = False
    """Compensate the camera's own motion by sparse optical flow."""
    consensus_motion: bool = True
    """Compensate the camera's own motion where the tracks agree on it; needs no pictures."""
    rebirth_s: float | None = None
    """A confirmed track that left may come back by appearance for this long; 0: never. Default: 30, but 0 where the
    associator looks back (``associate.hindsight_s``), which judges returns with more at hand."""
    rebirth_probability: float = 0.7
    """Smallest calibrated probability of being the same person for that."""
    rebirth_margin: float = 0.05
    """How much nearer (cosine distance) than the runner-up it must be."""
    rebirth_speed: float = 1.5
    """Fastest motion believed, heights per second."""
    max_tracks: int = 1000
    max_dormant: int = 200


@dataclass
class AssociateConfig:
    """Identities across cameras and absences."""

    name: str = "online"
    link_probability: float = 0.6
    """A tracklet joins an identity from this probability on."""
    new_probability: float = 0.2
    """A tracklet becomes a new identity at once if no identity is more probable than this."""
    margin: float = 0.4
    """Log-odds by which the best identity must lead the runner-up."""
    samples: int = 3
    """Crops a tracklet needs before it is named."""
    name_s: float = 1.0
    """And this much time: the first crops are often cut by the picture's edge."""
    wait_s: float = 5.0
    """How long an undecided tracklet may wait for evidence."""
    sample_s: float = 0.2
    """A tracklet is sampled at most this often."""
    min_quality: float = 0.2
    """Crops of lower quality are not sampled."""
    prototypes: int = 16
    """Looks kept per identity."""
    merge_probability: float = 0.85
    """Two identities that never met become one from this probability on."""
    merge_margin: float = 1.5
    merge_s: float = 1.0
    """Merging is considered this often."""
    hindsight_s: float = 5.0
    """The names given within the last minute are reconsidered this often, all at once; 0: never."""
    max_identities: int = 2000
    """Identities kept in the gallery; the longest unseen are closed first."""
    transitions: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from leaving one camera to entering another: ``{"cam1->cam2": [2, 20]}`` (negative: views overlap)."""
    learn_transitions: bool = True


@dataclass
class OutputConfig:
    """What is written."""

    dir: str | None = None
    """Folder for the results; default ``runs/<time>``."""
    video: bool = True
    """Annotated video of every camera, and a mosaic of all."""
    video_height_px: int | None = None
    """Height of the annotated videos; default: the source's, at most 720."""
    fill_gap_s: float = 0.7
    """Gaps in a track up to this long are filled by straight lines in the exported tables."""
    commit_s: float = 0.5
    """The database is made durable this often."""
    checkpoint_s: float = 5.0
    """State for --resume is saved this often."""


@dataclass
class RunConfig:
    """Everything ``mctrack run`` can be told; the same names in YAML, ``--set`` and Python."""

    cams: list[str] = field(default_factory=list)
    """Videos, globs, image folders, MOTChallenge sequences, rtsp:// URLs, webcam numbers, or name=source."""
    calib: str | None = None
    """Calibration of the cameras: a site file (YAML, see mctrack/geometry/site.py) or a calibration.json."""
    device: str = "auto"
    """Where networks run: auto, cpu or cuda."""
    quiet: bool = False
    """Print nothing but errors."""
    video: VideoConfig = field(default_factory=VideoConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    reid: ReidConfig = field(default_factory=ReidConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    associate: AssociateConfig = field(default_factory=AssociateConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __repr__(self) -> str:
        """All keys, without passwords."""
        return f"RunConfig({', '.join(f'{k}={v!r}' for k, v in _redacted(asdict(self)).items())})"


C = TypeVar("C")


def tracker_config(config: RunConfig) -> TrackConfig:
    """The trackers' settings in a run, with the default filled in that depends on the associator."""
    associate = config.associate
    looks_back = associate.name == "online" and associate.hindsight_s > 0 and config.reid.name != "none"
    default_s = 0.0 if looks_back else REBIRTH_S
    return replace(config.track, rebirth_s=default_s if config.track.rebirth_s is None else config.track.rebirth_s)


def load_config(cls: type[C], files: Sequence[str | Path] = (), overrides: Mapping[str, Any] | None = None,
                assignments: Sequence[str] = (), base: C | None = None) -> C:
    """Merge defaults, YAML files, ``key=value`` assignments and overrides, later ones winning.

    Args:
        cls: a dataclass such as :class:`RunConfig`.
        files: YAML files, or names of presets in ``configs/run``.
        overrides: dotted key → value; values of None are left out.
        assignments: texts ``dotted.key=value``, the value in YAML.
        base: takes the defaults' place.

    Raises:
        ConfigError: a file cannot be read, or a key or value does not fit; the message names it. Numbers of a
            :class:`RunConfig` must also be in range.
    """
    layers: list[tuple[str, dict[str, Any]]] = [] if base is None else [("base", asdict(cast(Any, base)))]
    layers += [(str(f), _read_yaml(Path(f))) for f in files]
    layers += [(f"--set {a}", _parse_assignment(a)) for a in assignments]
    layers += [("options", _nest(k, v)) for k, v in (overrides or {}).items() if v is not None]
    config = _merge(cls, layers)
    if isinstance(config, RunConfig):
        check_numbers(config)
    return config


def parse_config(cls: type[C], text: str, origin: str) -> C:
    """A configuration from YAML text; ``origin`` says in messages where it is from.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    return _merge(cls, [(origin, parse_yaml(text, origin))])


def _merge(cls: type[C], layers: Sequence[tuple[str, dict[str, Any]]]) -> C:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    merged = OmegaConf.structured(cls)
    origin: str = "configuration"
    layer: dict[str, Any] = {}
    try:
        for origin, layer in layers:
            _check_keys(cls, layer, origin)
            merged = OmegaConf.merge(merged, OmegaConf.create(_escaped(_plain(cls, layer))))
        return cast(C, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, TypeError) as error:
        key = getattr(error, "full_key", None) or ", ".join(map(str, layer))
        raise ConfigError(f"{origin}: '{key}': {str(error).splitlines()[0]}") from error


def _plain(cls: Any, layer: Mapping[str, Any]) -> dict[str, Any]:
    """One camera need not stand in a list: ``cams: clip.mp4``."""
    lists = {f.name for f in fields(cls) if f.default_factory is list}
    return {k: [v] if k in lists and isinstance(v, str | int) else v for k, v in layer.items()}


def _escaped(value: Any) -> Any:
    """The same with every ``${`` taken literally: a path or password may hold it, and there is nothing to look up."""
    if isinstance(value, Mapping):
        return {k: _escaped(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(v) for v in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def to_yaml(config: Any) -> str:
    """The whole configuration as YAML, without passwords."""
    import yaml

    # One long line each: a folded URL would not be recognised by whoever looks for passwords.
    return str(yaml.safe_dump(_redacted(asdict(config)), sort_keys=False, allow_unicode=True, width=1_000_000))


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _redacted(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_redacted(v) for v in value]
    return redact(value) if isinstance(value, str) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    from mctrack.resources import preset

    source = path if path.is_file() or path.suffix in (".yaml", ".yml") else preset("run", str(path))
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"configuration {path} cannot be read: {reason}") from error
    return parse_yaml(text, f"configuration {path}")


def parse_yaml(text: str, origin: str) -> dict[str, Any]:
    """A mapping from YAML text; ``origin`` says in messages where it is from.

    Raises:
        ConfigError: it is not YAML, or something else than a mapping.
    """
    import yaml

    try:
        layer = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{origin}{where}: not valid YAML ({_problem(error)})") from error
    if layer is None:
        return {}
    if not isinstance(layer, dict):
        raise ConfigError(f"{origin}: expected 'key: value' lines, found {type(layer).__name__}")
    return layer


def _problem(error: Exception) -> str:
    return getattr(error, "problem", None) or str(error).splitlines()[0]


def _parse_assignment(text: str) -> dict[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected key=value, e.g. --set track.high_score=0.6")
    try:
        return _nest(key.strip(), load_yaml(value))
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not valid YAML ({_problem(error)})") from error


def _nest(dotted: str, value: Any) -> dict[str, Any]:
    for part in reversed(dotted.split(".")):
        value = {part: value}
    return cast("dict[str, Any]", value)


def _check_keys(cls: Any, layer: Mapping[str, Any], origin: str, prefix: str = "") -> None:
    known = {f.name: f for f in fields(cls)}
    for key, value in layer.items():
        if key not in known:
            raise ConfigError(f"{origin}: unknown key '{prefix}{key}'{_suggest_key(cls, str(key), prefix)}")
        factory: Any = known[key].default_factory
        if isinstance(factory, type) and is_dataclass(factory):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: '{prefix}{key}' is a section; set one of its keys, "
                                  f"e.g. {prefix}{key}.{fields(factory)[0].name}")
            _check_keys(factory, value, origin, f"{prefix}{key}.")
        elif factory is dict:
            _check_blanks(value, f"{origin}: '{prefix}{key}'")
        elif cls is RunConfig and key == "cams":
            _check_cameras(value, origin)


def _check_blanks(value: Any, where: str) -> None:
    """``{cam1:1.3}`` is to YAML one key without a value, and ``cam1:1.3`` on its own a text."""
    glued = [k for k, v in value.items() if v is None] if isinstance(value, Mapping) else [value]
    for text in glued:
        name, colon, rest = (part.strip() for part in str(text).partition(":"))
        if name and colon and rest:
            raise ConfigError(f"{where}: write a blank after the colon: {{{name}: {rest}}}")


def _check_cameras(value: Any, origin: str) -> None:
    for camera in value if isinstance(value, list) else [value]:
        if isinstance(camera, Mapping):
            named = ", ".join(f"{name}={source}" for name, source in camera.items())
            raise ConfigError(f"{origin}: 'cams': a camera's name is written before its source, name=source: [{named}]")
        if isinstance(camera, list):
            raise ConfigError(f"{origin}: 'cams': expected one list of sources or name=source, found a list in it")


def _suggest_key(cls: Any, key: str, prefix: str) -> str:
    """Suggest from this section first, then from the whole tree (a key set without its section)."""
    here = suggest(key, [f.name for f in fields(cls)])
    if here:
        return here.replace("'", f"'{prefix}", 1)
    for path in _all_keys(RunConfig):
        if path.rpartition(".")[2] == key:
            return f" (did you mean '{path}'?)"
    return f"; known here: {', '.join(f.name for f in fields(cls))}"


def _all_keys(cls: Any, prefix: str = "") -> list[str]:
    keys = []
    for f in fields(cls):
        keys.append(prefix + f.name)
        factory: Any = f.default_factory
        if isinstance(factory, type) and is_dataclass(factory):
            keys += _all_keys(factory, f"{prefix}{f.name}.")
    return keys
