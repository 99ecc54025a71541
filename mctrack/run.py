"""One call that runs everything a :class:`RunConfig` describes and writes the results."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mctrack.config import RunConfig, to_yaml, tracker_config
from mctrack.config_checks import check_numbers
from mctrack.errors import ConfigError, MctrackError, SourceError, redact
from mctrack.folder import CONFIG_FILE, RUN_FILE, STORE_FILE, begun, choose_folder
from mctrack.meter import Meter, MeteredSource, overhead
from mctrack.resume import check_same, check_unchanged, fingerprints, stored_config, to_keep

if TYPE_CHECKING:
    from mctrack.geometry.locate import SiteLocator
    from mctrack.pipeline import LoopEnd, Stages
    from mctrack.sinks import Sink
    from mctrack.sinks.store import RunStore
    from mctrack.types import Instant, InstantResult
    from mctrack.video.reader import VideoSource

__all__ = ["RunSummary", "run", "stored_config"]

Say = Callable[[str], None]


@dataclass
class RunSummary:
    """How a run ended.

    Attributes:
        out: the results' folder.
        status: ``complete``, ``interrupted`` (it was told to stop) or ``failed``.
        counts: frames, boxes, tracklets, identities.
        wall_s: how long it took, or 0 where there was nothing left to do.
        warnings: one line each.
        failed: camera → why it could not be read at all; the others were processed.
        incomplete: recordings that were read, but not to the end they declare.
        lost: results that could not be written (``video``); everything else is complete.
        resumable: whether ``--resume`` can go on with it.
    """

    out: Path
    status: str
    counts: dict[str, int]
    wall_s: float = 0.0
    warnings: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    incomplete: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    resumable: bool = False

    @property
    def flawless(self) -> bool:
        """Whether every camera was read whole and every result written."""
        return not (self.failed or self.incomplete or self.lost)


def run(
    config: RunConfig, *, resume: bool = False, stop: threading.Event | None = None, say: Say | None = None,
    on_start: Callable[[], None] | None = None,
) -> RunSummary:
    """Track people in the cameras of a configuration and write everything to its output folder.

    Args:
        config: see :class:`RunConfig`.
        resume: go on with the interrupted run in ``config.output.dir``; take the configuration from
            :func:`stored_config`, since only a few keys may differ.
        stop: set it to end early with complete outputs.
        say: gets one line at a time for the user (which detector, warnings); default: nowhere.
        on_start: called once everything is loaded and the first frame is next.

    Raises:
        MctrackError: with one clear line; what was computed until then stays in the folder.
    """
    return _Run(config, resume, stop or threading.Event(), say or (lambda line: None)).go(on_start)


class _Run:
    """State of one call of :func:`run`."""

    def __init__(self, config: RunConfig, resume: bool, stop: threading.Event, say: Say) -> None:
        self.config, self.resume, self.stop, self.say = config, resume, stop, say
        self.began_s, self.began_cpu_s = time.monotonic(), time.process_time()
        self.meter = Meter()
        self.failed: dict[str, str] = {}
        self.warnings: list[str] = []
        self.lost: list[str] = []
        self.facts: dict[str, Any] = {}
        self.skip = 0
        self.locator: SiteLocator | None = None

    def go(self, on_start: Callable[[], None] | None) -> RunSummary:
        from mctrack.video.cameras import parse_cameras
        from mctrack.video.reader import check_offsets

        _check(self.config)
        self.specs = parse_cameras(self.config.cams)
        self._take_from_site()
        check_offsets(self.config.video, self.specs)
        self.out = choose_folder(self.config, self.resume, self.specs)
        with ExitStack() as stack:
            if self.resume:
                store = self._reopen(stack)
                if store.meta.get("status") == "complete":
                    self.say(f"{self.out} is complete already: there is nothing left to do")
                    return RunSummary(self.out, "complete", store.counts(), failed=self.failed)
                stages, sources = self._prepare(stack, store)
            else:
                stages, sources = self._prepare(stack, None)
                store = self._create(sources, stack)
            (on_start or (lambda: None))()
            return self._process(sources, stages, store)

    # ------------------------------------------------------------------ what a run needs

    def _prepare(self, stack: ExitStack, store: RunStore | None) -> tuple[Stages, list[MeteredSource]]:
        """Load the models and open the cameras; when resuming, take up the saved state."""
        from mctrack.detect.build import build_detector

        with self.meter.busy():
            detector = build_detector(self.config.detect, self.specs, self.config.device)
            self.say(f"detector: {detector.description}")
            embedder = self._embedder()
        saved = None
        if store is not None:
            self._gather_facts(detector, embedder)
            check_unchanged(store, self._kept_facts(), self.out)
            saved = store.rewind()
        # Without video the pictures of what is done already need not be made again.
        done = saved[1]["next_frame"] if saved and not self.config.output.video else {}
        sources = self._open(stack, done)
        if store is None:
            self._gather_facts(detector, embedder)
        stages = self._stages(detector, embedder)
        stages.locator = self.locator = self._locator(sources)
        if self.locator is not None and hasattr(stages.associator, "take_entrances"):
            stages.associator.take_entrances(self.locator.entrances())
        if self.config.device == "cuda" and "cuda" not in (self.facts["detector"] + self.facts["reid"]).lower():
            self._warn("--device cuda: neither this detector nor this embedder can use it; both run on the CPU")
        if saved is not None:
            self.skip = saved[0]
            stages.restore(saved[1])
            self.say(f"resume: going on after {self.skip} moments that are done")
        return stages, sources

    def _take_from_site(self) -> None:
        """Clocks and ways between cameras that the site file knows and the configuration does not."""
        if self.config.calib is None:
            return
        from mctrack.geometry.site import match_names, peek_site

        names = [s.name for s in self.specs]
        site = peek_site(self.config.calib)
        match_names(site, names)
        offsets = {n: v for n, v in site.time_offset_s.items() if n in names}
        ways = {k: list(v) for k, v in site.transitions.items() if all(end in names for end in site.ends(k))}
        self.config.video.offset_s = offsets | self.config.video.offset_s
        self.config.associate.transitions = ways | self.config.associate.transitions

    def _locator(self, sources: Sequence[MeteredSource]) -> SiteLocator | None:
        """Knows where people stand, if the cameras are calibrated."""
        if self.config.calib is None:
            return None
        from mctrack.geometry.locate import SiteLocator
        from mctrack.geometry.site import load_site, match_names

        site = load_site(self.config.calib, sizes := {s.spec.name: s.size for s in sources})
        for note in site.notes:
            self._warn(f"{site.path}: {note}")
        known = match_names(site, list(sizes))
        if missing := [n for n in sizes if n not in known]:
            self._warn(f"{site.path} does not know {', '.join(missing)}: followed there without calibration")
        self.say(f"calibration: {', '.join(known)}")
        return SiteLocator(site)

    def _embedder(self) -> Any:
        if self.config.reid.name == "none":
            self.say("reid: none, motion only; people get a new ID in every camera and at every return")
            return None
        from mctrack.embed import FrameEmbedder, load_embedder

        embedder = load_embedder(self.config.reid, self.config.device)
        self.say(f"reid: {embedder.description}")
        return FrameEmbedder(embedder, self.config.reid)

    def _gather_facts(self, detector: Any, embedder: Any) -> None:
        """What ``run.json`` and a later resume want to know of models and inputs."""
        config = self.config
        if config.detect.name == "auto" and config.detect.weights is None and "found" in detector.description:
            from mctrack.detect.auto import find_weights

            config = to_keep(config, self.specs)
            config.detect.weights = str(find_weights() or "") or None
        self.facts = {
            "detector": detector.description, "detector_class": type(detector).__qualname__,
            "reid": "none" if embedder is None else embedder.embedder.description,
            "inputs": fingerprints(config, [s for s in self.specs if s.name not in self.failed]),
        }

    def _kept_facts(self) -> dict[str, str]:
        """The facts that a resumed run must share, as kept in the database's ``meta``."""
        from mctrack.sinks.summary import versions

        inputs = {f"input {name}": value for name, value in self.facts["inputs"].items()}
        return {"detector": self.facts["detector_class"], "reid": self.facts["reid"], **inputs,
                "mctrack_version": versions().get("mctrack", "unknown")}

    def _open(self, stack: ExitStack, images_from: Mapping[str, int]) -> list[MeteredSource]:
        """Open all cameras side by side; those that cannot be read are told and left out, unless none is left."""
        from mctrack.video.reader import open_source

        zero = time.monotonic()
        specs = [s for s in self.specs if s.name not in self.failed]
        with ThreadPoolExecutor(min(len(specs), 16) or 1) as pool:
            jobs = [
                pool.submit(open_source, s, self.config.video, images_from=images_from.get(s.name, 0), clock_zero=zero)
                for s in specs
            ]
        sources: list[MeteredSource] = []
        stack.callback(_close_sources, sources)
        for spec, job in zip(specs, jobs, strict=True):
            error = job.exception()
            if error is None:
                sources.append(MeteredSource(job.result(), self.meter))
            elif isinstance(error, SourceError) and not self.resume:
                self.failed[spec.name] = str(error)
                self._warn(str(error))
            else:
                raise error
            if spec.live and self.config.video.start:
                self._warn(f"camera '{spec.name}' is live: --start does not apply to it")
        if not sources:
            raise self._nothing_read()
        return sources

    def _nothing_read(self) -> SourceError:
        lines = list(self.failed.values())
        return SourceError(lines[0] if len(lines) == 1 else f"no camera can be read: {'; '.join(lines)}")

    def _stages(self, detector: Any, embedder: Any) -> Stages:
        from mctrack.associate import ASSOCIATORS
        from mctrack.pipeline import Stages
        from mctrack.registry import resolve
        from mctrack.track import TRACKERS
        from mctrack.video.motion import CameraMotion

        names = [s.name for s in self.specs if s.name not in self.failed]
        probability = None if embedder is None else embedder.embedder.calibration.probability
        make = resolve("associator", self.config.associate.name, ASSOCIATORS)
        track = resolve("tracker", self.config.track.method, TRACKERS)
        trackers = {n: track(tracker_config(self.config), probability) for n in names}
        motion = {n: CameraMotion() for n in names} if self.config.track.camera_motion else {}
        associator = make(self.config.associate, names, probability)
        return Stages(detector, embedder, trackers, associator, motion, meter=self.meter)

    # ------------------------------------------------------------------ the database

    def _create(self, sources: Sequence[MeteredSource], stack: ExitStack) -> RunStore:
        """Start the run's database, with what a resume needs to find."""
        from mctrack.sinks.files import write_text
        from mctrack.sinks.store import RunStore

        kept = to_yaml(to_keep(self.config, self.specs))
        path = self.out / STORE_FILE
        store = RunStore.create(path, self._infos(sources), kept, overwrite=not begun(path),
                                commit_s=self.config.output.commit_s)
        stack.callback(store.close)
        for name, value in (self._kept_facts() | {"failed": json.dumps(self.failed), "status": "running"}).items():
            store.set_meta(name, value)
        store.flush()
        write_text(self.out / CONFIG_FILE, kept)
        self._write_run_json("running", {})
        return store

    def _infos(self, sources: Sequence[MeteredSource]) -> list[Any]:
        from mctrack.sinks.schema import CameraInfo
        from mctrack.video.cameras import shown_uri

        offsets = self.config.video.offset_s
        return [
            CameraInfo(s.spec.name, shown_uri(s.spec.uri), s.size[0], s.size[1], s.fps, offsets.get(s.spec.name, 0.0))
            for s in sources
        ]

    def _reopen(self, stack: ExitStack) -> RunStore:
        """Open the database of the run to go on with."""
        from mctrack.sinks.store import RunStore

        check_same(stored_config(self.out), self.config, self.specs, self.out)
        live = [s.name for s in self.specs if s.live]
        if live:
            raise ConfigError(f"--resume works on recordings; '{live[0]}' is a live camera")
        store = RunStore.open(self.out / STORE_FILE, readonly=False, commit_s=self.config.output.commit_s)
        stack.callback(store.close)
        self.failed = json.loads(store.meta.get("failed", "{}"))
        return store

    # ------------------------------------------------------------------ the run itself

    def _process(self, sources: Sequence[MeteredSource], stages: Stages, store: RunStore) -> RunSummary:
        try:
            end = self._track(sources, stages, store)
        except MctrackError as error:
            self._salvage(store, str(error))
            raise
        return self._finish(sources, stages, store, "complete" if end.complete else "interrupted")

    def _track(self, sources: Sequence[MeteredSource], stages: Stages, store: RunStore) -> LoopEnd:
        from mctrack.pipeline import run_loop
        from mctrack.sinks.progress import ProgressSink
        from mctrack.video.sync import instants

        unseen = self.config.quiet or sys.stderr is None
        progress = ProgressSink({s.spec.name: s.frame_count for s in sources}, unseen)
        self.video = self._video(sources)
        shows: list[Sink] = [s for s in (self.video, progress) if s is not None]

        def replay(number: int, instant: Instant) -> None:
            result = store.replay(number, instant)
            for sink in shows:
                sink.write(result)

        moments = instants(cast("Sequence[VideoSource]", sources), self.config.video)
        checkpoint = None if any(s.live for s in self.specs) else store.checkpoint
        try:
            end = run_loop(moments, stages, [store, *shows], checkpoint=checkpoint, replay=replay, skip=self.skip,
                           checkpoint_s=self.config.output.checkpoint_s, stop=self.stop)
        finally:
            for sink in shows:
                sink.close()
        self.failed |= {s.spec.name: s.broken for s in sources if s.broken is not None}
        if len(self.failed) == len(self.specs):
            raise self._nothing_read()
        return end

    def _video(self, sources: Sequence[MeteredSource]) -> _Optional | None:
        from mctrack.sinks.video import VideoSink
        from mctrack.video.writer import VideoWriter

        folder = self.out / "video"
        if not self.config.output.video:
            if self.skip and folder.is_dir():
                self._warn(f"{folder} shows only what was drawn before the interruption (--no-video)")
            return None
        sink = VideoSink(folder, self._infos(sources), self.meter.encoder(VideoWriter),
                         self.config.output.video_height_px, mosaic=len(sources) > 1, resume_instant=self.skip)

        def lose(error: MctrackError) -> None:
            self.lost.append("video")
            self._warn(f"{error}; going on without video")

        return _Optional(sink, lose)

    # ------------------------------------------------------------------ the end

    def _salvage(self, store: RunStore, error: str) -> None:
        """After an error: write what can be written of what is done; the first error is the one to tell."""
        for job in (
            store.flush, lambda: self._export(store), lambda: store.set_meta("status", "failed"),
            lambda: self._write_run_json("failed", {"error": error, "counts": store.counts()}),
        ):
            with suppress(MctrackError):
                job()

    def _finish(self, sources: Sequence[MeteredSource], stages: Stages, store: RunStore, status: str) -> RunSummary:
        for source in sources:
            if source.broken is not None:
                self._warn(source.broken)
        store.flush()
        for line in self.locator.warnings if self.locator is not None else ():
            self._warn(line)
        reports = [s.report() for s in sources if s.broken is None]
        for report in reports:
            for line in report.warnings:
                self._warn(f"{report.camera}: {line}")
        with stages.timed("export"):
            self._export(store)
        with stages.timed("birdseye"):
            self._birdseye(store)
        for line in self.warnings:
            store.warn(line)
        store.flush()
        live = {s.name for s in self.specs if s.live}
        cut = [r.camera for r in reports if not r.complete and r.camera not in live]
        summary = RunSummary(
            self.out, status, store.counts(), time.monotonic() - self.began_s, self.warnings, self.failed,
            cut if status == "complete" else [], self.lost,
            status != "complete" and not live,
        )
        seconds = {**stages.seconds, **(self.video.seconds if self.video else {}), **store.seconds,
                   "decode": self.meter.decode_s}
        wall_s, cpu_s = time.monotonic() - self.began_s, time.process_time() - self.began_cpu_s
        self._write_run_json(status, {
            "counts": summary.counts, "wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3),
            "seconds": {k: round(v, 3) for k, v in sorted(seconds.items())},
            "overhead": overhead(seconds, self.meter.busy_s, wall_s, cpu_s),
            "cameras": [asdict(r) for r in reports], "incomplete": summary.incomplete, "lost": self.lost,
        })
        # Last of all: whoever dies before this line is resumed from the last checkpoint, and writes every file again.
        store.end(status)
        return summary

    def _export(self, store: RunStore) -> None:
        from mctrack.sinks.identities import write_identities
        from mctrack.sinks.tables import write_csv, write_mot

        fill = self.config.output.fill_gap_s
        for written in (
            write_mot(store, self.out / "tracks", fill), write_csv(store, self.out / "tracks.csv", fill),
            write_identities(store, self.out / "identities.json"),
        ):
            for line in written.warnings:
                self._warn(line)

    def _birdseye(self, store: RunStore) -> None:
        """The run from above, where the cameras are calibrated; nothing else may suffer if it fails."""
        if self.locator is None or not self.config.output.video:
            return
        from mctrack.sinks.birdseye import BirdsEye
        from mctrack.video.writer import VideoWriter

        try:
            BirdsEye(store, self.locator.site).write(self.out / "video", self.meter.encoder(VideoWriter))
        except Exception as error:
            self._warn(f"the view from above could not be made: {error}")

    def _write_run_json(self, status: str, results: Mapping[str, Any]) -> None:
        from mctrack.sinks.summary import versions, write_run_json

        write_run_json(self.out / RUN_FILE, {
            "status": status, "resumed": self.resume, **results, "failed": self.failed, "warnings": self.warnings,
            **self.facts, "versions": versions(), "config": asdict(to_keep(self.config, self.specs)),
        })

    def _warn(self, line: str) -> None:
        line = redact(line)
        if line not in self.warnings:
            self.warnings.append(line)
            self.say(f"warning: {line}")


class _Optional:
    """A sink whose failure does not end the run: ``lose`` is told once, and it gets nothing more."""

    def __init__(self, sink: Any, lose: Callable[[MctrackError], None]) -> None:
        self._sink, self._lose, self._lost = sink, lose, False
        self.seconds: dict[str, float] = sink.seconds

    def write(self, result: InstantResult) -> None:
        self._try(lambda: self._sink.write(result))

    def close(self) -> None:
        """Finish what can be finished."""
        self._try(self._sink.close)

    def _try(self, job: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            job()
        except MctrackError as error:
            self._lost = True
            self._sink.close()
            self._lose(error)


def _check(config: RunConfig) -> None:
    """Refuse what cannot be meant, before anything is loaded."""
    if not config.cams:
        raise ConfigError("no cameras: give --cams, e.g. mctrack run --cams videos/cam*.mp4")
    check_numbers(config)


def _close_sources(sources: Sequence[MeteredSource]) -> None:
    """Close all side by side: each live camera may take a moment."""
    closers = [threading.Thread(target=s.close, daemon=True) for s in sources]
    for closer in closers:
        closer.start()
    due_s = time.monotonic() + 1.0
    for closer in closers:
        closer.join(max(due_s - time.monotonic(), 0.0))
