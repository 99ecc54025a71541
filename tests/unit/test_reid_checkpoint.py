"""A checkpoint is loadable whatever happened while it was written, and runs nothing that is not data."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import reid_models.checkpoint as checkpoint  # noqa: E402
from reid_models.checkpoint import LAST, PREVIOUS, TEMPORARY, load_checkpoint, save_checkpoint  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402


class Killed(BaseException):
    """Stands for the end of the process."""


def state(number: int) -> dict[str, Any]:
    return {"number": number, "weights": torch.full((300,), float(number)), "nested": {"a": [1, 2.5, None, "text"]}}


def same(found: dict[str, Any], number: int) -> bool:
    return found["number"] == number and bool((found["weights"] == number).all())


def test_what_is_saved_is_loaded_and_the_one_before_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        save_checkpoint(tmp_path, state(number))
    found, warning = load_checkpoint(tmp_path)
    assert same(found, 2)
    assert warning is None
    assert found["nested"] == {"a": [1, 2.5, None, "text"]}
    assert (tmp_path / PREVIOUS).exists()
    assert not (tmp_path / TEMPORARY).exists()


def test_ended_after_any_number_of_written_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty deaths, spread over every byte that a save writes: what was there before is loaded."""
    save_checkpoint(tmp_path, state(0))
    size = (tmp_path / LAST).stat().st_size
    real = open

    class Dying:
        def __init__(self, file: Any, left: int) -> None:
            self.file, self.left = file, left

        def write(self, data: Any) -> None:
            self.file.write(bytes(data)[: self.left])
            self.left -= len(data)
            if self.left <= 0:
                self.file.close()
                raise Killed

        def __enter__(self) -> Dying:
            return self

        def __exit__(self, *_: object) -> None: ...

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    for death in range(50):
        cut = 1 + death * (size - 1) // 49
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "open", lambda *a, c=cut, **k: Dying(real(*a, **k), c), raising=False)
            with pytest.raises(Killed):
                save_checkpoint(tmp_path, state(death + 1))
        found, warning = load_checkpoint(tmp_path)
        assert same(found, 0), f"died after {cut} bytes"
        assert warning is None


@pytest.mark.parametrize("call", ["fsync", "replace-1", "replace-2", "fsync-folder"])
def test_ended_at_any_call_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    for number in range(2):
        save_checkpoint(tmp_path, state(number))
    counts = {"fsync": 0, "replace": 0}

    def dying(name: str, real: Callable[..., Any], at: int) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            counts[name] += 1
            if counts[name] == at:
                raise Killed
            return real(*args)
        return run

    name, _, which = call.partition("-")
    at = {"": 1, "1": 1, "2": 2, "folder": 2}[which]
    with monkeypatch.context() as patch:
        patch.setattr(os, name, dying(name, getattr(os, name), at))
        with pytest.raises(Killed):
            save_checkpoint(tmp_path, state(2))
    found, warning = load_checkpoint(tmp_path)
    # the temporary file is whole before the first rename, so from then on the new state may be found
    assert same(found, 2 if call in ("replace-2", "fsync-folder") else 1)
    assert warning is None
    save_checkpoint(tmp_path, state(3))
    assert same(load_checkpoint(tmp_path)[0], 3)


def test_every_damage_is_noticed_and_the_one_before_taken(tmp_path: Path) -> None:
    for number in range(2):
        save_checkpoint(tmp_path, state(number))
    whole = (tmp_path / LAST).read_bytes()
    places = sorted({*range(0, 60, 7), *range(60, len(whole), len(whole) // 40), len(whole) - 1})
    for place in places:
        (tmp_path / LAST).write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        found, warning = load_checkpoint(tmp_path)
        assert same(found, 0), f"a flipped bit at {place} was not noticed"
        assert "damaged" in str(warning)
        (tmp_path / LAST).write_bytes(whole[:place])
        assert same(load_checkpoint(tmp_path)[0], 0), f"cut off at {place}"
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(ReidError, match="are damaged"):
        load_checkpoint(tmp_path)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    """Even with the right checksum: only tensors and plain values are ever read."""
    import hashlib

    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {marker}",)

    payload = pickle.dumps({"x": Evil()}, protocol=2)
    head = checkpoint._HEAD.pack(checkpoint.MAGIC, hashlib.sha256(payload).digest(), len(payload))
    (tmp_path / LAST).write_bytes(head + payload)
    with pytest.raises(ReidError, match="something else"):
        load_checkpoint(tmp_path)
    assert not marker.exists()


def test_no_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match="start without --resume"):
        load_checkpoint(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_for_real(tmp_path: Path) -> None:
    """A process that does nothing but save is killed again and again; every time something whole is found."""
    code = ("import sys, torch\nfrom reid_models.checkpoint import save_checkpoint\n"
            "n = int(sys.argv[2])\nprint('ready', flush=True)\n"
            "while True:\n n += 1\n save_checkpoint(sys.argv[1], {'n': n, 'w': torch.full((20000,), float(n))})\n")
    reached = 0
    root = Path(__file__).resolve().parents[2]
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(reached)], stdout=subprocess.PIPE,
                                   env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"})
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not (tmp_path / PREVIOUS).exists():
            time.sleep(0.01)
        time.sleep(0.02 + 0.0131 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found, _ = load_checkpoint(tmp_path)
        assert found["n"] >= max(reached, 1)
        assert bool((found["w"] == found["n"]).all())
        reached = found["n"]
