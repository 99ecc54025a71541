"""Configurations: layers in order, strict keys with suggestions, one clear line for every mistake."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
import yaml

from mctrack.config import RunConfig, TrackConfig, load_config, parse_config, to_yaml
from mctrack.errors import ConfigError


def load(*assignments: str, **options: object) -> RunConfig:
    return load_config(RunConfig, assignments=assignments, **options)  # type: ignore[arg-type]


def refusal(*assignments: str, **options: object) -> str:
    with pytest.raises(ConfigError) as error:
        load(*assignments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_defaults() -> None:
    assert load() == RunConfig()


def test_later_layers_win(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("track: {high_score: 0.1, low_score: 0.01, n_init: 7}\ndevice: cpu\n")
    second.write_text("track:\n  high_score: 0.2\n  low_score: 0.02\n")
    config = load_config(RunConfig, [first, second], {"track.low_score": 0.04, "track.gate": None},
                         ["track.high_score=0.3", "track.low_score=0.03"])
    assert config.track.n_init == 7
    assert config.track.high_score == 0.3
    assert config.track.low_score == 0.04
    assert config.track.gate == TrackConfig().gate
    assert config.device == "cpu"


def test_a_base_takes_the_defaults_place() -> None:
    base = load("track.n_init=9", "cams=[a.mp4]", "detect.options={person_class: 3}")
    config = load_config(RunConfig, assignments=["quiet=true"], base=base)
    assert config.track.n_init == 9
    assert config.cams == ["a.mp4"]
    assert config.detect.options == {"person_class": 3}
    assert config.quiet


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_config(RunConfig, [path]) == RunConfig()


@pytest.mark.parametrize(("assignment", "value"), [
    ("cams=[a.mp4, 0, 'b=c.mp4']", ["a.mp4", "0", "b=c.mp4"]), ("cams=a.mp4", ["a.mp4"]), ("cams=0", ["0"]),
    ("cams=['x=y=z.mp4']", ["x=y=z.mp4"]),
])  # fmt: skip
def test_cameras_in_a_list_or_alone(assignment: str, value: list[str]) -> None:
    assert load(assignment).cams == value


def test_dictionaries_and_free_options() -> None:
    config = load("video.offset_s.cam1=1.3", "video.offset_s={cam2: -2}", "detect.options={a: [1, 2], b: {c: x}}",
                  "associate.transitions={'cam1->cam2': [2, 20]}")
    assert config.video.offset_s == {"cam1": 1.3, "cam2": -2.0}
    assert config.detect.options == {"a": [1, 2], "b": {"c": "x"}}
    assert config.associate.transitions == {"cam1->cam2": [2.0, 20.0]}


@pytest.mark.parametrize("text", ["rtsp://u:${oc.env:HOME}@h/x", "${", "a\\${b}", "${x", "$5", "{a}", "C:\\new"])
def test_text_is_taken_as_it_is(text: str) -> None:
    """Nothing in a path or password is looked up or replaced."""
    config = load_config(RunConfig, overrides={"cams": [text], "detect.weights": text, "detect.options": {"o": text}})
    assert (config.cams, config.detect.weights, config.detect.options) == ([text], text, {"o": text})
    assert load_config(RunConfig, base=config) == config


@pytest.mark.parametrize(("assignment", "said"), [
    ("tracks.high_score=1", "unknown key 'tracks' (did you mean 'track'?)"),
    ("track.hihg_score=1", "unknown key 'track.hihg_score' (did you mean 'track.high_score'?)"),
    ("high_score=1", "(did you mean 'track.high_score'?)"),
    ("max_frames=1", "(did you mean 'video.max_frames'?)"),
    ("output.zzz=1", "known here: dir, video"),
    ("quiet.x=1", "'quiet'"),
    ("track=5", "'track' is a section; set one of its keys"),
    ("track.n_init.x=5", "track.n_init"),
    ("track.high_score", "expected key=value"),
    ("=3", "expected key=value"),
    ("track.high_score=", "track.high_score"),
    ("track.high_score=abc", "'abc' of type 'str' could not be converted to Float"),
    ("video.max_frames=1.5", "video.max_frames"),
    ("video.offset_s=3", "video.offset_s"),
    ("output.video=maybe", "'maybe' is not a valid bool"),
    ("cams={a: b}", "cams"),
    ("cams=[a", "not valid YAML"),
    ("cams=['???']", "cams"),
    ("cams={door: a.mp4}", "'cams': a camera's name is written before its source, name=source: [door=a.mp4]"),
    ("cams=[x.mp4, {door: a.mp4}]", "name=source: [door=a.mp4]"),
    ("cams=[[a.mp4]]", "found a list in it"),
    ("video.offset_s={cam1:1.3}", "'video.offset_s': write a blank after the colon: {cam1: 1.3}"),
    ("video.offset_s=cam1:1.3", "write a blank after the colon: {cam1: 1.3}"),
    ("track.noise={measure:1}", "'track.noise': write a blank after the colon: {measure: 1}"),
    ("track.options={gate:1}", "'track.options': write a blank after the colon: {gate: 1}"),
    ("detect.options={hold_s:3}", "'detect.options': write a blank after the colon: {hold_s: 3}"),
])  # fmt: skip
def test_mistakes_name_the_key(assignment: str, said: str) -> None:
    message = refusal(assignment)
    assert f"--set {assignment}" in message
    assert said in message


def test_mistakes_in_files_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    for text, said in (
        ("track: {hihg_score: 1}", "unknown key 'track.hihg_score' (did you mean 'track.high_score'?)"),
        ("track:\n  n_init: [1\n", "line 3: not valid YAML"),
        ("a: b: c", "line 1: not valid YAML"),
        ("\t- x", "not valid YAML"),
        ("- a\n- b\n", "expected 'key: value' lines, found list"),
        ("just words", "expected 'key: value' lines, found str"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("1: 2", "unknown key '1'"),
    ):
        path.write_text(text)
        message = refusal(files=[path])
        assert str(path) in message
        assert said in message
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert "not a text file" in refusal(files=[path])
    assert "No such file" in refusal(files=[tmp_path / "missing.yaml"])
    assert "no configuration file or preset 'defualt' (did you mean 'default'?)" in refusal(files=["defualt"])
    assert "no configuration file or preset" in refusal(files=[tmp_path])


def test_yaml_round_trip() -> None:
    config = load("track.n_init=9", "cams=['ä b.mp4', \"it's.mp4\"]", "video.offset_s={a: 1.5}", "output.dir=x")
    assert parse_config(RunConfig, to_yaml(config), "here") == config
    assert yaml.safe_load(to_yaml(RunConfig())) == asdict(RunConfig())


def test_yaml_holds_no_passwords() -> None:
    cams = ["rtsp://user:s3cr3t@host/a", "door=rtsp://u:s3cr3t@/x@host/b", "http://h/x?pwd=s3cr3t&channel=2",
            "rtsp://user:" + "s3cr3t" * 60 + "@host/a-long-one"]
    config = load_config(RunConfig, overrides={"cams": cams, "detect.options": {"url": "http://a:s3cr3t@b/c"}})
    text = to_yaml(config)
    assert "s3cr3t" not in text
    assert "rtsp://***@host/a" in text
    assert "channel=2" in text


def test_the_representation_holds_no_passwords() -> None:
    config = load_config(RunConfig, overrides={"cams": ["rtsp://user:s3cr3t@host/a"],
                                               "detect.options": {"url": "http://a:s3cr3t@b/c"}})
    assert "s3cr3t" not in repr(config) + str(config)
    assert repr(config).startswith("RunConfig(cams=['rtsp://***@host/a'], ")


def test_messages_hold_no_passwords(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("camms: ['rtsp://user:s3cr3t@host/a']")
    for message in (refusal("cams={a: rtsp://user:s3cr3t@host/a}"), refusal("rtsp://user:s3cr3t@host/a"),
                    refusal("cams.rtsp://user:s3cr3t@host=2"), refusal(files=[path])):
        assert "s3cr3t" not in message


@dataclass
class _Inner:
    """A section."""

    number: int = 1


@dataclass
class _Outer:
    """Somebody else's configuration."""

    inner: _Inner = field(default_factory=_Inner)
    names: list[str] = field(default_factory=list)


def test_any_dataclass_can_be_loaded() -> None:
    config = load_config(_Outer, assignments=["inner.number=3", "names=x"])
    assert config == _Outer(_Inner(3), ["x"])
    with pytest.raises(ConfigError, match=r"unknown key 'inner\.nunber'"):
        load_config(_Outer, assignments=["inner.nunber=3"])
