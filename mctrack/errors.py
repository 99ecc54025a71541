"""Errors that a user can mend. The command line prints them as one line and exits with code 2."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# user:password@ of any URL; a password may itself hold '@' or '/', so the greedy match runs up to the last '@'
# of a run without blanks or quotes.
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://)[^\s'\"]*@")
# …and secrets in a query: ?pwd=…&token=…
_QUERY_SECRET = re.compile(
    r"([?&][^\s=&'\"]*(?:pass|pwd|secret|token|auth|api_?key|credential)[^\s=&'\"]*=)[^&\s'\"]+", re.IGNORECASE
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
    """Remove passwords from every URL in a text: ``rtsp://u:p@host/?token=x`` becomes ``rtsp://***@host/?token=***``."""
    return _QUERY_SECRET.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", text))


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest of the choices, or an empty string."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
