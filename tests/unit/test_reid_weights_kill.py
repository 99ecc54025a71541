"""A save that fails or is killed at any step leaves the old weights or the new ones."""

from __future__ import annotations

import errno
import os
import signal

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from reid_tiny import tiny, tiny_model  # noqa: E402, F401

from reid_models import ReidError, atomic, weights  # noqa: E402
from reid_models.atomic import write_atomic  # noqa: E402
from reid_models.weights import digest, load_weights, save_weights  # noqa: E402


def versions():
    made = []
    for seed in range(2):
        model = tiny()
        generator = torch.Generator().manual_seed(seed)
        for value in model.parameters():
            value.data.normal_(generator=generator)
        made.append(model)
    return made


def steps(monkeypatch, act, at):
    """Call ``act`` instead of the ``at``-th of: write (half of it done), flush to disk, rename, flush of the folder."""
    count = [0]

    def counted(call, before=None):
        def wrapper(*args, **options):
            count[0] += 1
            if count[0] == at:
                if before is not None:
                    before(*args)
                act()
            return call(*args, **options)
        return wrapper

    class File:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *why):
            return self.file.__exit__(*why)

        def __getattr__(self, name):
            if name != "write":
                return getattr(self.file, name)
            return counted(self.file.write, lambda data: (self.file.write(data[: len(data) // 2]), self.file.flush()))

    monkeypatch.setattr(atomic, "open", lambda *args: File(open(*args)), raising=False)  # noqa: SIM115
    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(os, "replace", counted(os.replace))
    return count


def full_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt():
    raise KeyboardInterrupt


def all_steps(tmp_path, model):
    with pytest.MonkeyPatch.context() as patch:
        count = steps(patch, lambda: None, 0)
        save_weights(tmp_path / "count.safetensors", model, {})
    return count[0]


@pytest.mark.parametrize("act", [full_disk, interrupt])
def test_failing_at_every_step(tmp_path, tiny_model, act):  # noqa: F811
    old, new = versions()
    total = all_steps(tmp_path, old)
    assert total == 8  # two files, each: write, flush, rename, flush of the folder
    path = tmp_path / "net.safetensors"
    allowed = {digest(m.state_dict()) for m in (old, new)}
    for at in range(1, total + 1):
        save_weights(path, old, {})
        with pytest.MonkeyPatch.context() as patch:
            steps(patch, act, at)
            try:
                save_weights(path, new, {})
                assert act is full_disk  # only the flush of the folder may fail without a word
                assert at in (4, 8)
            except (ReidError, KeyboardInterrupt):
                assert at not in (4, 8) or act is interrupt
        model, card = load_weights(path)
        assert digest(model.state_dict()) == card["sha256"]
        assert card["sha256"] in allowed
        assert (card["sha256"] == digest(new.state_dict())) == (at > 3)
        assert not list(tmp_path.glob(".*"))


def written(path, model):
    """What a save hands to the writer of files, in its order."""
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "write_atomic", lambda *call: calls.append(call))
        save_weights(path, model, {})
    return calls


def test_killed_fifty_times(tmp_path, tiny_model, rng):  # noqa: F811
    pair = versions()
    path = tmp_path / "net.safetensors"
    save_weights(path, pair[0], {})
    # Taken in the parent: torch's threads do not survive a fork, and the child would wait for them for ever.
    calls = [written(path, model) for model in pair]
    seen, died = set(), 0
    for turn in range(50):
        at = int(rng.integers(1, 9))
        child = os.fork()
        if not child:
            try:
                steps(pytest.MonkeyPatch(), lambda: os.kill(os.getpid(), signal.SIGKILL), at)
                for call in calls[turn % 2]:
                    write_atomic(*call)
            finally:
                os._exit(1)
        died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        model, card = load_weights(path)
        assert digest(model.state_dict()) == card["sha256"]
        seen.add(card["sha256"])
    assert died == 50
    assert seen == {digest(m.state_dict()) for m in pair}


def test_the_file_has_usual_rights_and_the_folder_may_be_missing(tmp_path):
    mask = os.umask(0o022)
    try:
        write_atomic(tmp_path / "a", b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    with pytest.raises(ReidError, match="cannot be written: No such file"):
        write_atomic(tmp_path / "b" / "a", b"x")
