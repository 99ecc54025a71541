"""Errors that a user can mend. The command line prints them as one line and exits with code 2."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from typing import TextIO

URL_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp", "mms", "mmsh", "tls")
"""What a camera's URL may begin with."""
# user:password@ of any URL; a password may itself hold '@' or '/', so the greedy match runs up to the last '@'
# of a run without blanks or quotes.
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://)[^\s'\"]*@")
# …of a mistyped one, or of one that went through pathlib: rtsp:/… rtsp:\\… rtsp//…
_MISTYPED = re.compile(
    rf"(?<![A-Za-z0-9])((?:{'|'.join(URL_SCHEMES)})(?::[/\\]{{0,2}}|[/\\]{{2}}))[^\s'\"]*@", re.IGNORECASE
)
# …and without any scheme: user:password@host, but neither C:\… nor 12:30@…, nor what is hidden already
_BARE = re.compile(r"(?<![^\s'\"=/\\(,])(?![A-Za-z]:[/\\]|[\dT:.\-]+@)[^\s'\":/\\@=(,]+:[^\s'\"]*@(?<!\*\*\*@)")
# …and secrets in a query: ?pwd=…&token=…
_QUERY_SECRET = re.compile(
    r"([?&][^\s=&'\"]*(?:pass|pwd|secret|token|auth|api_?key|credential)[^\s=&'\"]*=)(?:\*\*\*(?!\w)|[^&\s'\"]+)",
    re.IGNORECASE,
)


class MctrackError(Exception):
    """A user's mistake or a broken input: one clear line that names the file, camera or key and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class ConfigError(MctrackError):
    """A configuration value or key that cannot be used."""


class SourceError(MctrackError):
    """A camera, video file or image folder that cannot be read."""


class WeightsError(MctrackError):
    """Model weights that cannot be loaded."""


class OutputError(MctrackError):
    """Results that cannot be written or read back."""


def redact(text: str) -> str:
    """Remove passwords from every URL in a text: ``rtsp://u:p@host/?token=x`` becomes ``rtsp://***@host/?token=***``.

    Also where the URL is mistyped: ``rtsp:/u:p@host``, ``u:p@host``.
    """
    text = _MISTYPED.sub(r"\1***@", _CREDENTIALS.sub(r"\1***@", text))
    return _QUERY_SECRET.sub(r"\1***", _BARE.sub("***@", text))


def fall_silent(stream: TextIO | None) -> None:
    """For a stream whose reader has gone: what is written from now on, or still waits in it, goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()  # type: ignore[union-attr]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest of the choices, or an empty string."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
