"""A run's folder: which one, and whether it holds a run already."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from mctrack.config import RunConfig
from mctrack.errors import ConfigError, OutputError

STORE_FILE, CONFIG_FILE, RUN_FILE = "run.db", "config.yaml", "run.json"


def choose_folder(config: RunConfig, resume: bool) -> Path:
    """The results' folder; a new run gets a new one."""
    if resume:
        if config.output.dir is None:
            raise ConfigError("--resume needs --out DIR, the folder of the run to go on with")
        return Path(config.output.dir)
    out = Path(config.output.dir) if config.output.dir else _fresh(Path("runs"))
    if begun(out / STORE_FILE):
        raise OutputError(f"{out} already holds a run: go on with --resume, or give another --out")
    there = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not there.is_dir():
        raise OutputError(f"{out} cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out} cannot be written: no permission for {there}")
    return out


def _fresh(base: Path) -> Path:
    """``runs/<time>``, with a number behind where two runs start in one second."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out, n = base / stamp, 1
    while out.exists():
        n += 1
        out = base / f"{stamp}_{n}"
    return out


def begun(path: Path) -> bool:
    """Whether a database holds a run: one that was killed while being made may hold nothing yet."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as db:
            if not db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                return False
            return bool(db.execute("SELECT COUNT(*) FROM meta WHERE key = 'config_yaml'").fetchone()[0])
    except sqlite3.Error:
        return True  # whatever it is, it is not ours to overwrite; opening it tells more
