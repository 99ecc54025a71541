"""The command line: parse → configuration → one library call → print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import os
import sys
import threading
from importlib import import_module

import click

from mctrack import __version__
from mctrack.errors import MctrackError, fall_silent, redact

COMMANDS = {
    "run": "mctrack.commands.run:run_command",
    "export": "mctrack.commands.export:export_command",
    "refine": "mctrack.commands.refine:refine_command",
    "redraw": "mctrack.commands.redraw:redraw_command",
    "birdseye": "mctrack.commands.birdseye:birdseye_command",
    "eval": "mctrack.commands.eval:eval_command",
    "calibrate": "mctrack.commands.calibrate:calibrate",
    "synth": "mctrack.commands.synth:synth",
    "models": "mctrack.commands.models:models_command",
    "train-reid": "mctrack.commands.train_reid:train_reid_command",
    "tune-reid": "mctrack.commands.tune_reid:tune_reid_command",
    "export-reid": "mctrack.commands.export_reid:export_reid_command",
    "make-reid-data": "mctrack.commands.make_reid_data:make_reid_data_command",
    "train-detector": "mctrack.commands.train_detector:train_detector_command",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the right command for a wrong one."""
        from mctrack.errors import suggest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'{suggest(args[0], COMMANDS)}; commands: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mctrack")
def cli() -> None:
    """Track people across cameras: every person gets one ID that holds across cameras, occlusions and absences.

    \b
    Try:  mctrack run --cams videos/cam*.mp4
    """  # noqa: D301


def main(argv: list[str] | None = None) -> None:
    """Entry point: a user's mistake ends in one line and exit code 2."""
    if argv is None:
        _occupy_standard_streams()
    code = _run(argv)
    # A network or a name lookup cannot be interrupted, and tearing Python down under it may crash: all is written.
    # Not where another program called us: it is not ours to end.
    if argv is None and any(t.name.startswith(("perceive", "camera ", "feed ")) for t in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _occupy_standard_streams() -> None:
    """Where a caller closed stdout or stderr, the next file opened (the database!) would take its number, and text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _run(argv: list[str] | None) -> int:
    """Run a command; its exit code."""
    try:
        cli.main(args=argv, prog_name="mctrack", standalone_mode=False)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context is not None else ""
        return _failed(error.format_message() + hint)
    except MctrackError as error:
        return _failed(str(error))
    except BrokenPipeError:
        # the reader of our output has gone (| head); nothing to tell, and nobody to tell it to
        sys.stderr.close()
        os._exit(1)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            return _failed(f"{error.filename or 'output'} cannot be written: {error.strerror}")
        if error.filename is None:
            return _bug()
        return _failed(f"{error.filename} cannot be used: {error.strerror}; check the path and its permissions")
    except Exception:
        return _bug()
    return 0


def _bug() -> int:
    import traceback

    _tell(redact(traceback.format_exc()) + "\nThis is a bug in mctrack, please report it with the lines above.")
    return 1


def _failed(message: str) -> int:
    _tell(f"error: {redact(message)}")
    return 2


def _tell(line: str) -> None:
    """A line on stderr; the exit code tells as much where nobody reads it any more."""
    try:
        click.echo(line, err=True)
    except OSError:
        fall_silent(sys.stderr)
