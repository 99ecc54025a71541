"""Files that travel with the package (presets, benchmark definitions), found in a checkout and in a wheel alike."""

from __future__ import annotations

from pathlib import Path

from mctrack.errors import ConfigError, suggest

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. ``resource("configs", "run")``."""
    packaged = _PACKAGE.joinpath("_resources", *parts)
    return packaged if packaged.exists() else _PACKAGE.parent.joinpath(*parts)


def preset(kind: str, name: str) -> Path:
    """Path of ``configs/<kind>/<name>.yaml``.

    Raises:
        ConfigError: there is no such preset.
    """
    path = resource("configs", kind) / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in resource("configs", kind).glob("*.yaml"))
        hint = f"{suggest(name, known)}; presets: {', '.join(known)}"
        raise ConfigError(f"no configuration file or preset '{name}'{hint}")
    return path
