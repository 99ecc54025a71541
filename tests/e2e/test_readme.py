"""Commands in the documentation exist, with the options they use, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mctrack.cli import cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "eval/README.md", "videos/README.md", "eval/results/run.md")


def commands() -> list[tuple[str, str]]:
    """Every line of a code block (fenced or indented) that calls mctrack."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        lines = re.findall(r"^(?: {4}|)(?:.*&& )?(mctrack .*)$", text, re.MULTILINE)
        found += [(name, line.split(" #")[0].strip()) for line in lines]
    return found


@pytest.mark.parametrize(("document", "line"), commands())
def test_command_parses(document: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, f"{document}: no command {words[0]}"
    while isinstance(command, click.Group):
        words = words[1:]
        command = command.get_command(click.Context(command), words[0])
        assert command is not None, f"{document}: no such command in '{line}'"
    command.make_context(words[0], words[1:])  # raises where an option is unknown


def test_there_are_commands_to_check() -> None:
    assert len(commands()) >= 12


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_the_two_commands_of_a_fresh_machine_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 'pip install -e ".[yolo]" && mctrack run --cams videos/cam*.mp4' in readme
    assert 'pip install -e ".[yolo,test]" && pytest -n 2' in readme
    assert '-e ".[yolo,test]"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
