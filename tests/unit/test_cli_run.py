"""``mctrack run`` as it is typed: words to configuration, summaries to lines and exit codes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pytest

from mctrack.cli import COMMANDS, cli, main
from mctrack.commands.run import KEYS, run_command
from mctrack.config import RunConfig
from mctrack.errors import SourceError
from mctrack.run import RunSummary

COUNTS = {"frames": 40, "boxes": 30, "tracklets": 3, "identities": 2}
Typed = Callable[..., "Call"]


class Call:
    """What became of one command line."""

    def __init__(self) -> None:
        self.config = RunConfig()
        self.options: dict[str, Any] = {}
        self.code = -1
        self.out = self.err = ""


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """Runs a command line with the library call replaced; ``act`` says what that does."""
    monkeypatch.chdir(tmp_path)

    def type_in(*words: str, act: Callable[[dict[str, Any]], RunSummary] | None = None) -> Call:
        call = Call()

        def run(config: RunConfig, **options: Any) -> RunSummary:
            call.config, call.options = config, options
            return act(options) if act else RunSummary(Path("out"), "complete", COUNTS, 1.0)

        monkeypatch.setattr("mctrack.run.run", run)
        with pytest.raises(SystemExit) as ended:
            main(["run", *words])
        call.code = int(ended.value.code or 0)
        call.out, call.err = capsys.readouterr()
        return call

    return type_in


@pytest.mark.parametrize(("words", "cams"), [
    (["--cams", "a.mp4"], ["a.mp4"]),
    (["--cams", "a.mp4", "b.mp4", "c.mp4"], ["a.mp4", "b.mp4", "c.mp4"]),
    (["--cams", "a.mp4", "b.mp4", "--out", "x"], ["a.mp4", "b.mp4"]),
    (["--no-video", "--cams", "a.mp4", "b.mp4", "--quiet"], ["a.mp4", "b.mp4"]),
    (["--cams", "a.mp4", "--cams", "b.mp4", "c.mp4", "--out", "x", "--cams", "d"], ["a.mp4", "b.mp4", "c.mp4", "d"]),
    (["--cams=a.mp4", "b.mp4"], ["a.mp4", "b.mp4"]),
    (["--cams", "videos/cam*.mp4"], ["videos/cam*.mp4"]),
    (["--cams", "0", "1"], ["0", "1"]),
    (["--cams", "door=rtsp://u:p@h/x", "yard=0", "folder/"], ["door=rtsp://u:p@h/x", "yard=0", "folder/"]),
    (["--cams", "a b.mp4", "ä=c.mp4"], ["a b.mp4", "ä=c.mp4"]),
])  # fmt: skip
def test_every_way_to_name_cameras(typed: Typed, words: list[str], cams: list[str]) -> None:
    call = typed(*words)
    assert call.code == 0, call.err
    assert call.config.cams == cams


def test_words_that_belong_to_no_option_are_refused(typed: Typed) -> None:
    for words in (["a.mp4"], ["--cams", "a.mp4", "--out", "x", "b.mp4"], ["--quiet", "a.mp4"]):
        call = typed(*words)
        assert call.code == 2
        assert "unexpected extra argument" in call.err


def test_every_option_has_its_key(typed: Typed) -> None:
    call = typed("--cams", "a.mp4", "--detector", "onnx", "--weights", "w.onnx", "--reid", "none", "--calib", "c.json",
                 "--out", "o", "--device", "cpu", "--start", "5", "--max-frames", "7", "--no-video", "--quiet")
    c = call.config
    assert (c.detect.name, c.detect.weights, c.reid.name, c.calib) == ("onnx", "w.onnx", "none", "c.json")
    assert (c.output.dir, c.device, c.video.start, c.video.max_frames) == ("o", "cpu", 5, 7)
    assert (c.output.video, c.quiet) == (False, True)
    others = {"configs", "assignments", "resume"}  # these say how to configure
    assert {p.name for p in run_command.params} == set(KEYS) | others
    for key in KEYS.values():
        tree: Any = asdict(RunConfig())
        for part in key.split("."):
            tree = tree[part]


def test_only_what_was_given_overrides(typed: Typed) -> None:
    Path("my.yaml").write_text("cams: [x.mp4]\nquiet: true\noutput: {video: false, dir: y}\nvideo: {start: 3}\n")
    config = typed("--config", "my.yaml").config
    assert config.cams == ["x.mp4"]
    assert (config.quiet, config.output.video, config.output.dir, config.video.start) == (True, False, "y", 3)
    config = typed("--config", "my.yaml", "--set", "video.start=4", "--video", "--cams", "z.mp4").config
    assert (config.cams, config.output.video, config.video.start) == (["z.mp4"], True, 4)
    assert typed("--config", "my.yaml", "--set", "video.start=4", "--start", "5").config.video.start == 5
    assert typed("--set", "cams=[a.mp4]", "--set", "track.n_init=9").config.track.n_init == 9


@pytest.mark.parametrize(("words", "said"), [
    (["--cams", "a.mp4", "--set", "track.hihg_score=1"], "did you mean 'track.high_score'?"),
    (["--cams", "a.mp4", "--config", "missing.yaml"], "missing.yaml cannot be read"),
    (["--cams", "a.mp4", "--out-dir", "x"], "No such option"),
    (["--cams", "a.mp4", "--detectr", "x"], "--detector"),
    (["--cams"], "requires an argument"),
    (["--cams", "a.mp4", "--device", "gpu"], "'gpu'"),
    (["--cams", "a.mp4", "--max-frames", "0"], "--max-frames"),
    (["--cams", "a.mp4", "--start", "-1"], "--start"),
    (["--cams", "a.mp4", "--start", "x"], "--start"),
    (["--resume"], "--resume needs --out DIR"),
    (["--resume", "--out", "nowhere"], "nowhere holds no run to resume"),
])  # fmt: skip
def test_mistakes_are_one_line_and_exit_code_2(typed: Typed, words: list[str], said: str) -> None:
    call = typed(*words)
    assert call.code == 2
    assert call.out == ""
    assert len(call.err.splitlines()) == 1
    assert call.err.startswith("error: ")
    assert said in call.err


def test_mistakes_that_the_library_finds(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in (
        ([], "no cameras: give --cams"),
        (["--cams", "missing.mp4"], "missing.mp4 does not exist"),
        (["--cams", "none*.mp4"], "no file matches 'none*.mp4'"),
        (["--cams", "0", "--calib", "c.json"], "calib: c.json cannot be read: No such file"),
        (["--cams", "0", "--set", "output.commit_s=0"], "output.commit_s is 0"),
        (["--cams", "0", "--set", "output.video_height_px=1"], "output.video_height_px is 1"),
        (["--cams", "0", "--set", "output.fill_gap_s=.nan"], "output.fill_gap_s is nan"),
        (["--cams", "0", "--set", "output.checkpoint_s=-1"], "output.checkpoint_s is -1"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["run", *words])
        out, err = capsys.readouterr()
        assert (ended.value.code, out, len(err.splitlines())) == (2, "", 1), err
        assert said in err
    assert list(tmp_path.iterdir()) == []


def test_the_end_says_where_results_are(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "my out" / "video").mkdir(parents=True)
    (tmp_path / "my out" / "video" / "mosaic.mp4").touch()
    call = typed("--cams", "a.mp4", act=lambda o: RunSummary(Path("my out"), "complete", COUNTS, 1.0))
    assert "done: 2 people in 3 tracks, 40 frames" in call.out
    assert "results in 'my out'" in call.out
    assert "video/mosaic.mp4" in call.out
    (tmp_path / "my out" / "video" / "mosaic.mp4").rename(tmp_path / "my out" / "video" / "cam1.mp4")
    alone = typed("--cams", "a.mp4", act=lambda o: RunSummary(Path("my out"), "complete", COUNTS, 1.0))
    assert "video/cam1.mp4" in alone.out
    assert "mctrack export 'my out' --format" in call.out
    assert "--resume" not in call.out
    assert call.err == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_cameras_that_could_not_be_read(typed: Typed, quiet: bool) -> None:
    summary = RunSummary(Path("out"), "complete", COUNTS, 1.0, ["b: ended after 3 of 9 frames"],
                         failed={"a": "camera 'a' (a.mp4): not a video"}, incomplete=["b"], lost=["video"])
    call = typed("--cams", "a.mp4", *["--quiet"] * quiet, act=lambda o: summary)
    assert call.code == 2
    assert (call.out == "") == quiet
    lines = call.err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True] * 3
    assert "'a' could not be read" in lines[0]
    assert "'b' was not read to its end" in lines[1]
    assert "video could not be written" in lines[2]
    if quiet:  # otherwise the run itself has said so
        assert "not a video" in lines[0]
        assert "3 of 9" in lines[1]


def test_quiet_says_nothing(typed: Typed) -> None:
    call = typed("--cams", "a.mp4", "--quiet")
    assert (call.out, call.err, call.code) == ("", "", 0)
    assert call.options["say"] is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_for_an_early_end(typed: Typed, number: signal.Signals, code: int) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        stop: threading.Event = options["stop"]
        options["on_start"]()
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(1.0)
        return RunSummary(Path("out"), "interrupted", COUNTS, 1.0, resumable=True)

    before = signal.getsignal(number)
    call = typed("--cams", "a.mp4", act=act)
    assert call.code == code
    assert "stopped early" in call.out
    assert "mctrack run --resume --out out" in call.out
    assert signal.getsignal(number) == before


def test_a_signal_while_loading_ends_at_once(typed: Typed) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5.0)
        raise AssertionError("still here")

    call = typed("--cams", "a.mp4", act=act)
    assert call.code == 143
    assert call.err.splitlines() == ["stopped before the first frame"]


def test_a_signal_that_came_too_late_changes_nothing(typed: Typed) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        options["on_start"]()
        os.kill(os.getpid(), signal.SIGINT)
        return RunSummary(Path("out"), "complete", COUNTS, 1.0)

    assert typed("--cams", "a.mp4", act=act).code == 0


def test_errors_of_the_library_are_one_line(typed: Typed) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        raise SourceError("camera 'a' (rtsp://user:s3cr3t@h/x): timed out")

    call = typed("--cams", "a.mp4", act=act)
    assert (call.code, call.err) == (2, "error: camera 'a' (rtsp://***@h/x): timed out\n")


def test_a_bug_is_told_as_one_without_passwords(typed: Typed) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        raise ValueError("broke on rtsp://user:s3cr3t@h/x?token=s3cr3t")

    call = typed("--cams", "a.mp4", act=act)
    assert call.code == 1
    assert "s3cr3t" not in call.err
    assert "Traceback" in call.err
    assert "This is a bug in mctrack" in call.err


def test_a_path_that_the_system_refuses_is_one_line(typed: Typed) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        (Path("out") / ("a" * 300)).mkdir(parents=True)
        raise AssertionError("still here")

    call = typed("--cams", "a.mp4", act=act)
    assert call.code == 2
    said = "cannot be used: File name too long; check the path and its permissions"
    assert call.err == f"error: out/{'a' * 300} {said}\n"


def test_an_error_of_the_system_without_a_file_is_a_bug(typed: Typed) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        raise OSError(9, "Bad file descriptor")

    call = typed("--cams", "a.mp4", act=act)
    assert call.code == 1
    assert "This is a bug in mctrack" in call.err


def test_a_reader_that_has_gone_changes_nothing(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(options: dict[str, Any]) -> RunSummary:
        monkeypatch.setattr(click, "echo", gone)
        options["say"]("detector: x")
        return RunSummary(Path("out"), "complete", COUNTS, 1.0, incomplete=["b"])

    def gone(*words: object, **options: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    call = typed("--cams", "a.mp4", act=act)
    assert (call.code, call.out, call.err) == (2, "", "")  # two: a camera was not read to its end


@pytest.mark.parametrize("option", ["--config", "--calib", "--out", "--weights"])
def test_a_url_in_the_wrong_place_keeps_its_password(option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "--cams", "0", "--detector", "background", "--reid", "none", option, "rtsp://user:s3cr3t@h/x"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, len(err.splitlines())) == (2, "", 1), err
    assert "s3cr3t" not in err
    assert list(tmp_path.iterdir()) == []


def test_unknown_commands_get_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    for word, said in (("rnu", "did you mean 'run'?"), ("rtsp://u:s3cr3t@h", "No such command 'rtsp://***@h'")):
        with pytest.raises(SystemExit) as ended:
            main([word])
        err = capsys.readouterr().err
        assert ended.value.code == 2
        assert said in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: mctrack")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, f"{name}: {parameter.name} has no help"
