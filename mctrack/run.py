"""One call that runs everything a :class:`RunConfig` describes and writes the results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mctrack.config import RunConfig, load_config, to_yaml
from mctrack.errors import ConfigError, MctrackError, OutputError, SourceError, redact
from mctrack.video.spec import CameraSpec

if TYPE_CHECKING:
    from mctrack.pipeline import Stages
    from mctrack.sinks.store import RunStore
    from mctrack.types import Instant
    from mctrack.video.reader import VideoSource

Say = Callable[[str], None]
CONFIG_FILE, STORE_FILE, RUN_FILE = "config.yaml", "run.db", "run.json"


@dataclass
class RunSummary:
    """How a run ended.

    Attributes:
        out: the results' folder. status: ``complete``, or ``interrupted`` (a signal came).
        counts: frames, boxes, tracklets, identities. warnings: one line each.
        failed: cameras that could not be read at all; the others were processed.
    """

    out: Path
    status: str
    counts: dict[str, int]
    wall_s: float
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run(
    config: RunConfig, *, resume: bool = False, stop: threading.Event | None = None, say: Say | None = None
) -> RunSummary:
    """Track people in the cameras of a configuration and write everything to its output folder.

    Args:
        config: see :class:`RunConfig`.
        resume: go on with the interrupted run in ``config.output.dir``; its own configuration is used.
        stop: set it to end early with complete outputs.
        say: gets one line at a time for the user (which detector, warnings); default: nowhere.

    Raises:
        MctrackError: with one clear line; what was computed until then stays in the folder.
    """
    return _Run(config, resume, stop or threading.Event(), say or (lambda line: None)).go()


class _Run:
    """State of one call of :func:`run`."""

    def __init__(self, config: RunConfig, resume: bool, stop: threading.Event, say: Say) -> None:
        self.config, self.resume, self.stop, self.say = config, resume, stop, say
        self.began_s = time.monotonic()
        self.failed: dict[str, str] = {}
        self.warnings: list[str] = []

    def go(self) -> RunSummary:
        from mctrack.detect.build import build_detector
        from mctrack.video.cameras import parse_cameras
        from mctrack.video.reader import check_offsets

        self.out = _out_folder(self.config, self.resume)
        if self.resume:
            self.config = _stored_config(self.config, self.out)
        specs = parse_cameras(self.config.cams)
        if self.resume and any(s.live for s in specs):
            raise ConfigError(f"--resume works on files; '{next(s.name for s in specs if s.live)}' is a live camera")
        check_offsets(self.config.video, specs)
        detector = build_detector(self.config.detect, specs, self.config.device)
        self.say(f"detector: {detector.description}")
        embedder = self._embedder()
        with ExitStack() as stack:
            sources = self._open(specs, stack)
            self.specs = [s.spec for s in sources]
            stages = self._stages(detector, embedder)
            store = stack.enter_context(closing(self._store(sources)))
            self._track(sources, stages, store)
            store.flush()
            return self._finish(sources, stages, store, detector.description)

    # ------------------------------------------------------------------ parts

    def _embedder(self) -> Any:
        if self.config.reid.name == "none":
            self.say("reid: none, motion only; people get a new ID in every camera and at every return")
            return None
        from mctrack.embed import FrameEmbedder, load_embedder

        embedder = load_embedder(self.config.reid.name, self.config.device)
        self.say(f"reid: {embedder.description}")
        return FrameEmbedder(embedder, self.config.reid)

    def _open(self, specs: Sequence[CameraSpec], stack: ExitStack) -> list[VideoSource]:
        """Open all cameras; those that cannot be read are told and left out, unless none is left."""
        from mctrack.video.reader import open_source

        zero, sources = time.monotonic(), []
        for spec in specs:
            try:
                source = open_source(spec, self.config.video, clock_zero=zero)
            except SourceError as error:
                self.failed[spec.name] = str(error)
                self._warn(str(error))
                continue
            stack.callback(source.close)
            sources.append(source)
        if not sources:
            lines = list(self.failed.values())
            raise SourceError(lines[0] if len(lines) == 1 else f"no camera can be read: {'; '.join(lines)}")
        return sources

    def _stages(self, detector: Any, embedder: Any) -> Stages:
        from mctrack.associate import ASSOCIATORS
        from mctrack.pipeline import Stages
        from mctrack.registry import resolve
        from mctrack.track.camera_tracker import CameraTracker
        from mctrack.video.motion import CameraMotion

        names = [s.name for s in self.specs]
        probability = None if embedder is None else embedder.probability
        make = resolve("associator", self.config.associate.name, ASSOCIATORS)
        trackers = {n: CameraTracker(self.config.track, probability) for n in names}
        motion = {n: CameraMotion() for n in names} if self.config.track.camera_motion else {}
        return Stages(detector, embedder, trackers, make(self.config.associate, names, probability), motion)

    def _store(self, sources: Sequence[VideoSource]) -> RunStore:
        """Open the run's database; on resume go back to its last checkpoint."""
        from mctrack.sinks.schema import CameraInfo
        from mctrack.sinks.store import RunStore

        self.cameras = [
            CameraInfo(s.spec.name, redact(s.spec.uri), *s.size, s.fps,
                       self.config.video.offset_s.get(s.spec.name, 0.0))
            for s in sources
        ]
        path, commit_s = self.out / STORE_FILE, self.config.output.commit_s
        if self.resume:
            store = RunStore.open(path, readonly=False, commit_s=commit_s)
            if [c.name for c in store.cameras()] != [c.name for c in self.cameras]:
                store.close()
                raise SourceError(f"{path}: the run had cameras {', '.join(c.name for c in store.cameras())}, "
                                  f"now {', '.join(c.name for c in self.cameras)} can be read")
            return store
        store = RunStore.create(path, self.cameras, to_yaml(self.config), commit_s=commit_s)
        _write_config(self.config, self.specs, self.out)
        return store

    # ------------------------------------------------------------------ the run itself

    def _track(self, sources: Sequence[VideoSource], stages: Stages, store: RunStore) -> None:
        from mctrack.pipeline import run_loop
        from mctrack.sinks.progress import ProgressSink
        from mctrack.video.sync import instants

        skip = 0
        if self.resume and (saved := store.rewind()) is not None:
            skip = saved[0]
            stages.restore(saved[1])
        sinks: list[Any] = [store]
        if self.config.output.video:
            sinks.append(self._video(skip))
        progress = ProgressSink({s.spec.name: s.frame_count for s in sources}, self.config.quiet)
        sinks.append(progress)
        rest = sinks[1:]

        def replay(number: int, instant: Instant) -> None:
            result = store.replay(number, instant)
            for sink in rest:
                sink.write(result)

        frames = instants(sources, self.config.video)
        try:
            with closing(frames):
                run_loop(
                    frames, stages, sinks, replay=replay, skip=skip, stop=self.stop,
                    checkpoint=None if any(s.live for s in self.specs) else store.checkpoint,
                    checkpoint_s=self.config.output.checkpoint_s,
                )
        finally:
            self._close(rest)

    def _close(self, sinks: Sequence[Any]) -> None:
        """Finish every sink, whatever happens to the others; the first error is told afterwards."""
        errors = []
        for sink in sinks:
            try:
                sink.close()
            except MctrackError as error:
                errors.append(error)
        self.draw_s: dict[str, float] = next((s.seconds for s in sinks if hasattr(s, "seconds")), {})
        if errors:
            raise errors[0]

    def _video(self, skip: int) -> Any:
        from mctrack.sinks.video import VideoSink
        from mctrack.video.writer import VideoWriter

        return VideoSink(self.out / "video", self.cameras, VideoWriter, self.config.output.video_height_px,
                         resume_instant=skip)

    def _finish(
        self, sources: Sequence[VideoSource], stages: Stages, store: RunStore, detector: str
    ) -> RunSummary:
        from mctrack.sinks.identities import write_identities
        from mctrack.sinks.summary import hash_file, versions, write_run_json
        from mctrack.sinks.tables import write_csv, write_mot

        reports = [s.report() for s in sources]
        for report in reports:
            for line in report.warnings:
                self._warn(f"{report.camera}: {line}")
        fill = self.config.output.fill_gap_s
        with stages.timed("export", time.perf_counter):
            for written in (write_mot(store, self.out / "tracks", fill), write_csv(store, self.out / "tracks.csv", fill),
                            write_identities(store, self.out / "identities.json")):
                for line in getattr(written, "warnings", ()):
                    self._warn(line)
        for line in self.warnings:
            store.warn(line)
        wall_s = time.monotonic() - self.began_s
        summary = RunSummary(self.out, "interrupted" if self.stop.is_set() else "complete", store.counts(), wall_s,
                             self.warnings, list(self.failed))
        write_run_json(self.out / RUN_FILE, {
            "status": summary.status, "resumed": self.resume, "counts": summary.counts, "wall_s": wall_s,
            "seconds": {**stages.seconds, **self.draw_s}, "overhead": overhead(stages.seconds | self.draw_s, wall_s),
            "detector": detector, "reid": self.config.reid.name, "config": asdict(self.config),
            "cameras": [asdict(r) for r in reports], "failed": self.failed, "warnings": self.warnings,
            "versions": versions(),
            "inputs": {s.name: hash_file(Path(s.uri)) for s in self.specs if s.kind == "file"},
        })
        return summary

    def _warn(self, line: str) -> None:
        line = redact(line)
        if line not in self.warnings:
            self.warnings.append(line)
            self.say(f"warning: {line}")


def overhead(seconds: dict[str, float], wall_s: float) -> float:
    """Share of the run's time spent outside codec, detector and embedder: tracking, naming, drawing, storing."""
    own = sum(v for k, v in seconds.items() if k not in ("detect", "embed", "encode", "decode"))
    return own / wall_s if wall_s > 0 else 0.0


def _out_folder(config: RunConfig, resume: bool) -> Path:
    """The results' folder; a new run gets a new one."""
    if resume:
        if config.output.dir is None:
            raise ConfigError("--resume needs --out DIR, the folder of the run to go on with")
        out = Path(config.output.dir)
        if not (out / STORE_FILE).is_file():
            raise OutputError(f"{out} holds no run to resume: there is no {STORE_FILE}")
        return out
    out = Path(config.output.dir) if config.output.dir else _fresh(Path("runs"))
    if (out / STORE_FILE).exists():
        raise OutputError(f"{out} already holds a run: go on with --resume, or give another --out")
    return out


def _fresh(base: Path) -> Path:
    """``runs/<time>``, with a number behind where two runs start in one second."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out, n = base / stamp, 1
    while out.exists():
        n += 1
        out = base / f"{stamp}_{n}"
    return out


def _write_config(config: RunConfig, specs: Sequence[CameraSpec], out: Path) -> None:
    """Keep the merged configuration, with cameras by name and absolute path, so that a resume finds them."""
    kept = RunConfig(**{**vars(config), "cams": [f"{s.name}={_absolute(s)}" for s in specs]})
    try:
        (out / CONFIG_FILE).write_text(to_yaml(kept), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out / CONFIG_FILE} cannot be written: {error.strerror}") from error


def _absolute(spec: CameraSpec) -> str:
    return spec.uri if spec.live else str(Path(spec.uri).resolve())


def _stored_config(given: RunConfig, out: Path) -> RunConfig:
    """The interrupted run's configuration; only where to show and how to compute may differ."""
    path = out / CONFIG_FILE
    if not path.is_file():
        raise OutputError(f"{out} cannot be resumed: {CONFIG_FILE} is missing")
    stored = load_config(RunConfig, [path])
    stored.quiet, stored.output.dir = given.quiet, given.output.dir
    default = RunConfig()
    for section in ("video", "detect", "reid", "track", "associate"):
        mine, theirs, plain = (vars(getattr(c, section)) for c in (given, stored, default))
        for key, value in mine.items():
            if value != plain[key] and value != theirs[key]:
                raise ConfigError(f"--resume: {section}.{key} was {theirs[key]} in {out} and is {value} now; "
                                  f"leave it away, or start a new run with another --out")
    return stored
