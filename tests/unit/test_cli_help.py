"""What ``--help`` says: every command's, with examples that stand in lines of their own and can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import pairwise

import click
import pytest
from click.testing import CliRunner

from mctrack.cli import cli
from mctrack.resources import preset
from reid_models.recipe import recipe_names


def commands(command: click.Command = cli, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, *path, name)


def examples(text: str) -> list[str]:
    """The lines of a help that are a command to type."""
    lines = (line.strip().removeprefix("Try:").strip() for line in text.splitlines())
    return [line for line in lines if line.startswith("mctrack ")]


ALL = dict(commands())
EXAMPLES = sorted({line for command in ALL.values() for line in examples(command.help or "")})


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_help_can_be_read(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*path, "--help"])
    assert done.exit_code == 0
    assert "\\b" not in done.output
    assert "\b" not in done.output
    assert examples(done.output) == examples(ALL[path].help or "")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_typed(example: str) -> None:
    """The command exists, takes these options, and knows what they name; it is not run."""
    words, command = shlex.split(example)[1:], ALL[()]
    while isinstance(command, click.Group):
        child = command.get_command(click.Context(command), words.pop(0))
        assert child is not None
        command = child
    command.make_context(command.name, list(words))
    value = dict(pairwise(words))
    assert value.get("--recipe", "robust-reid") in recipe_names()
    assert preset("synth", value.get("--preset", "lab")).is_file()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 12
    assert any("--recipe" in example for example in EXAMPLES)
