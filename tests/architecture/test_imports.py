"""The rules of ARCHITECTURE.md, enforced by reading imports (and, where reading is not enough, by importing)."""

from __future__ import annotations

import ast
import os
import re
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mctrack

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef]

PACKAGES = Path(mctrack.__file__).resolve().parents[1]
ROOT = Path(__file__).resolve().parents[2]

GROUND = {"errors", "types", "boxes", "config", "config_checks", "registry", "resources", "strict_yaml"}
ROOMS = {"video", "track", "geometry", "associate", "evaluation", "sinks", "synth"}
PLUGGED = {"detect", "embed"}
LOOP = {"pipeline"}
CALLS = {"run", "resume", "folder", "refinement", "redrawing"}
FRONT = {"cli", "commands", "__main__"}
LEAVES = {"meter", "commented"}
"""Small helpers that know the ground floor at most."""

_BELOW_LOOP = GROUND | ROOMS | PLUGGED | LEAVES
MAY_IMPORT = (
    dict.fromkeys(GROUND | LEAVES, GROUND)
    | {room: GROUND | {room} for room in ROOMS}
    | {name: GROUND | {name, "video.spec"} for name in PLUGGED}
    | dict.fromkeys(LOOP, _BELOW_LOOP)
    | dict.fromkeys(CALLS, _BELOW_LOOP | LOOP | CALLS)
    | dict.fromkeys(FRONT, _BELOW_LOOP | LOOP | CALLS | FRONT)
)
PURE = {"track", "associate", "evaluation", "geometry"}
ONE_MODULE_EACH = {
    "motmetrics": {"mctrack.evaluation.through_motmetrics"},
    "filterpy": {"mctrack.track.filterpy_model"},
    "ultralytics": {"mctrack.detect.yolo"},
}
OWN_PROCESS = {"reid_models.train", "reid_models.train_setup"}
"""A training seeds torch's global state before every step: dropout, erasing and the bottleneck's noise draw from it."""
TRAINING = "mctrack.detect.training."
"""Loaded only by who trains; may need torch to be imported at all."""
TORCH = {"mctrack.detect.yolo", "mctrack.detect.torchvision", "mctrack.detect.torch_tools"} | {
    f"mctrack.detect.training.{name}" for name in ("network", "loss", "train", "export")
} | {f"mctrack.commands.{name}" for name in ("train_detector", "train_reid", "tune_reid")}
HEAVY = ("torch", "torchvision", "ultralytics", "cv2", "av", "numpy", "scipy", "onnxruntime", "omegaconf", "rich")


@dataclass(frozen=True)
class Module:
    """One source file: ``name`` is dotted, ``room`` the part below ``mctrack`` (or ``reid_models``)."""

    name: str
    room: str
    tree: ast.Module


@dataclass(frozen=True)
class Import:
    """One import, wherever it stands; ``at_top``: it runs when the module is imported."""

    by: Module
    target: str
    at_top: bool

    def __str__(self) -> str:
        return f"{self.by.name} imports {self.target}"


def modules() -> list[Module]:
    found = []
    for package in ("mctrack", "reid_models"):
        for path in sorted((PACKAGES / package).rglob("*.py")):
            name = ".".join(path.relative_to(PACKAGES).with_suffix("").parts).removesuffix(".__init__")
            parts = name.split(".")
            room = package if package == "reid_models" else parts[1] if len(parts) > 1 else "mctrack"
            found.append(Module(name, room, ast.parse(path.read_text(encoding="utf-8"))))
    return found


MODULES = modules()


def imports(module: Module) -> Iterator[Import]:
    """Every import statement, and modules that are imported by name (``import_module("x")``)."""
    top = {id(node) for statement in module.tree.body for node in _run_at_import(statement)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, id(node) in top)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: relative imports hide what is imported"
            for alias in node.names:
                yield Import(module, _target(node.module or "", alias.name), id(node) in top)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "import_extra", "__import__"):
                yield Import(module, str(node.args[0].value), id(node) in top)


def _target(module: str, name: str) -> str:
    """``from mctrack.video import spec`` imports a module, ``from mctrack.types import Frame`` does not."""
    whole = f"{module}.{name}"
    return whole if any(m.name == whole for m in MODULES) else module


def _run_at_import(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not inside functions, not for type checkers only."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if isinstance(statement, ast.If) and ast.unparse(statement.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
        return
    yield statement
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            yield from _run_at_import(child)
        else:
            yield from ast.walk(child)


ALL = [i for m in MODULES for i in imports(m)]


def test_the_reader_of_imports_reads() -> None:
    """If it found nothing, all the rules would hold."""
    assert len(MODULES) > 60
    assert {"numpy", "mctrack.types", "torch", "ultralytics.nn.tasks", "mctrack.video.spec"} <= {i.target for i in ALL}
    assert any(not i.at_top for i in ALL if i.target == "av")


# ---------------------------------------------------------------------- 1. who may import whom


def test_every_module_has_a_place() -> None:
    unknown = {m.room for m in MODULES} - set(MAY_IMPORT) - {"mctrack", "reid_models"}
    assert not unknown, f"say in ARCHITECTURE.md and here where these belong: {unknown}"


def test_imports_go_downwards_only() -> None:
    wrong = []
    for found in ALL:
        target = found.target.removeprefix("mctrack.")
        if not found.target.startswith("mctrack.") or found.by.room == "reid_models":
            continue
        allowed = MAY_IMPORT[found.by.room]
        if target.split(".")[0] not in allowed and target not in allowed:
            wrong.append(str(found))
    assert wrong == []


def test_reid_models_stands_alone() -> None:
    assert [str(i) for i in ALL if i.by.room == "reid_models" and i.target.split(".")[0] == "mctrack"] == []
    users = {i.by.room for i in ALL if i.target.split(".")[0] == "reid_models" and i.by.room != "reid_models"}
    assert users <= {"embed", "commands"}


# ---------------------------------------------------------------------- 2. NumPy and SciPy only


def test_the_algorithms_need_numpy_and_scipy_only() -> None:
    allowed = {"numpy", "scipy", "mctrack", "__future__"} | set(sys.stdlib_module_names)
    wrong = [str(i) for i in ALL if i.by.room in PURE and i.target.split(".")[0] not in allowed
             and i.by.name not in ONE_MODULE_EACH.get(i.target.split(".")[0], set())]
    assert wrong == []


@pytest.mark.parametrize("package", ONE_MODULE_EACH)
def test_packages_behind_one_module(package: str) -> None:
    users = {i.by.name for i in ALL if i.target.split(".")[0] == package}
    assert users == ONE_MODULE_EACH[package]


# ---------------------------------------------------------------------- 3. torch


def test_torch_stays_in_its_corner() -> None:
    users = {i.by.name for i in ALL if i.target.split(".")[0] in ("torch", "torchvision")}
    assert {name for name in users if not name.startswith("reid_models.")} <= TORCH
    assert [str(i) for i in ALL if i.at_top and i.target.split(".")[0] in ("torch", "torchvision", "ultralytics")
            and i.by.room != "reid_models" and not i.by.name.startswith(TRAINING)] == []
    assert {name for name in needing_torch() if not name.startswith((TRAINING, "reid_models."))} == set()


def needing_torch() -> set[str]:
    """Modules that cannot be imported without torch: they, or what they import at their top, import it there."""
    needing = {i.by.name for i in ALL if i.at_top and i.target.split(".")[0] in ("torch", "torchvision")}
    while True:
        more = {i.by.name for i in ALL if i.at_top and i.target in needing} - needing
        if not more:
            return needing
        needing |= more


# ---------------------------------------------------------------------- 4. nothing happens at import


def test_modules_only_define_things() -> None:
    """At the top of a module stand imports, definitions and values; no call for its effect, no loop."""
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    wrong = []
    for module in MODULES:
        for node in module.tree.body:
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guarded = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
            # _X /= y: a value being made
            if not (isinstance(node, definitions) or text or guarded or isinstance(node, ast.AugAssign)):
                if module.name.endswith("__main__"):
                    continue
                wrong.append(f"{module.name}:{node.lineno}: {ast.unparse(node)[:60]}")
    assert wrong == []


def test_nobody_uses_global_random_state() -> None:
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64", "BitGenerator"}
    wrong = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            match = re.fullmatch(r"(?:np|numpy)\.random\.(\w+)", text)
            if match and match[1] not in allowed:
                wrong.append(f"{module.name}:{node.lineno}: {text}")  # type: ignore[attr-defined]
            if text in ("torch.manual_seed", "cv2.setRNGSeed") and module.name not in OWN_PROCESS:
                wrong.append(f"{module.name}:{node.lineno}: {text}")  # type: ignore[attr-defined]
    wrong += [str(i) for i in ALL if i.target in ("random", "numpy.random") and i.by.room != "reid_models"]
    assert wrong == []


EFFECTS = """
import importlib, os, random, signal, sys, threading, warnings
import av, click, cv2, filterpy.kalman, motmetrics, numpy as np, omegaconf, onnxruntime, rich.console, scipy.optimize
import scipy.stats, yaml

def state():
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    return {
        "environment": dict(os.environ), "numpy random": str(np.random.get_state()), "random": random.getstate(),
        "print options": str(np.get_printoptions()), "error state": np.geterr(), "cv2 threads": cv2.getNumThreads(),
        "threads": threading.active_count(), "signals": handlers, "filters": list(warnings.filters),
        "folder": os.getcwd(), "path": list(sys.path), "files": sorted(os.listdir(".")),
    }

before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
after = state()
print([key for key in before if before[key] != after[key]])
print([name for name in ("torch", "torchvision", "ultralytics") if name in sys.modules])
"""


def test_importing_everything_changes_nothing(tmp_path: Path) -> None:
    names = [m.name for m in MODULES if not m.name.endswith("__main__") and m.name not in needing_torch()]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", EFFECTS, *names], cwd=tmp_path, capture_output=True,
                          text=True, check=False, timeout=120, env=_environment())
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "[]"]


# ---------------------------------------------------------------------- the command line is quick


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["run", "--nonsense"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = ("import sys\nfrom mctrack.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
            f"print('heavy:', [m for m in {HEAVY} if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False,
                          env=_environment(), timeout=60)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_help_answers_within_a_third_of_a_second() -> None:
    took_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mctrack", "--help"], capture_output=True, check=True, env=_environment(),
                       timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # CPU time: what else the machine does is not our doing
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took_s) < 0.3


# ---------------------------------------------------------------------- 5. from a wheel as from a checkout


def test_what_is_read_at_run_time_travels_with_the_package() -> None:
    """Every folder that code asks ``resource()`` or ``preset()`` for lies in one that the wheel takes along."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a checkout")
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    shipped = wheel["wheel"]["force-include"]
    assert all((ROOT / source).is_dir() for source in shipped)
    assert all(target == f"mctrack/_resources/{source}" for source, target in shipped.items())
    asked = set()
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("resource", "preset"):
                words = [a.value for a in node.args if isinstance(a, ast.Constant)]
                if words:
                    asked.add("/".join(["configs", words[0]] if node.func.id == "preset" else words))  # type: ignore[attr-defined]
    assert asked
    for folder in asked - {"configs"}:
        assert any(f"{folder}/".startswith(f"{source}/") for source in shipped), folder


def test_a_wheel_holds_it_all(tmp_path: Path) -> None:
    """Built, unpacked and asked from elsewhere; only where the build tool is at hand (it is not needed to run)."""
    pytest.importorskip("hatchling")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a checkout")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT,
                   check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    listed = {str(p.relative_to(tmp_path / "site")) for p in (tmp_path / "site").rglob("*") if p.is_file()}
    for package in ("mctrack", "reid_models"):
        for path in (ROOT / package).rglob("*"):
            made_here = {"__pycache__", "_resources"} & set(path.parts) or path.suffix == ".cache"
            if path.is_file() and not made_here:
                assert str(path.relative_to(ROOT)) in listed
    code = """if True:
        from mctrack.config import RunConfig, load_config
        from mctrack.evaluation.benchmark import benchmark_names
        from mctrack.resources import resource
        from reid_models import load

        defaults = load_config(RunConfig, ["default"]) == RunConfig()
        print(resource("configs", "run"), defaults, load("histogram").dim > 0, len(benchmark_names()) > 0)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
                          env=_environment() | {"PYTHONPATH": str(tmp_path / "site")}, timeout=60)
    assert done.stdout.startswith(f"{tmp_path / 'site' / 'mctrack' / '_resources'}"), done.stderr
    assert done.stdout.endswith(" True True True\n")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PACKAGES), "OMP_NUM_THREADS": "1"}
