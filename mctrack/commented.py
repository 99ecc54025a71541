"""A configuration's defaults as YAML, every key with what the source says about it.

``python -m mctrack.commented`` prints what belongs in ``configs/run/default.yaml``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any

from mctrack.config import RunConfig

_WIDTH = 112
_HEADER = """\
# Every key of the configuration of `mctrack run`, with its default. Made from the source by
#   python -m mctrack.commented > configs/run/default.yaml
# Give a file with the few keys that you change: mctrack run --config FILE; or single ones: --set track.high_score=0.5.
"""


def default_yaml(cls: Any = RunConfig) -> str:
    """The text: a comment above each key, sections indented."""
    return _HEADER + "\n" + _section(cls, "")


def _section(cls: Any, indent: str) -> str:
    import yaml

    notes = _notes(cls)
    parts = []
    for f in fields(cls):
        value = getattr(cls(), f.name)
        note = notes.get(f.name) or (inspect.getdoc(type(value)) if is_dataclass(value) else "") or ""
        comment = "".join(f"{indent}# {line}\n" for line in textwrap.wrap(note, _WIDTH - len(indent)))
        if is_dataclass(value):
            parts.append(f"\n{comment}{indent}{f.name}:\n{_section(type(value), indent + '  ')}")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000).removesuffix("...\n").strip()
            parts.append(f"{comment}{indent}{f.name}: {text}\n")
    return "".join(parts)


def _notes(cls: Any) -> dict[str, str]:
    """Key → the text that stands below it in the class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    notes = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            notes[field.target.id] = " ".join(str(below.value.value).split()).replace("``", "`")  # type: ignore[attr-defined]
    return notes


if __name__ == "__main__":
    print(default_yaml(), end="")
