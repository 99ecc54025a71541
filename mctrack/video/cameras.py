"""What stands after ``--cams``: files, globs, folders, URLs and webcams, turned into cameras with unique names."""

from __future__ import annotations

import configparser
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from mctrack.errors import URL_SCHEMES, SourceError, redact, suggest
from mctrack.video.spec import CameraSpec

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
# What was meant as one: rtsp:/… rtsp:\\… rtsp//… rtsp ://… wherever it stands in a text
_MEANT_AS_URL = re.compile(rf"(?<![\w.\-/\\])({'|'.join(URL_SCHEMES)})\s*(:\s*[/\\]|//)", re.IGNORECASE)
_NAME = re.compile(r"[\w.\-]+")
# Query values that tell cameras apart and are never secret; every other value stays hidden.
_PUBLIC_QUERY = frozenset({"channel", "ch", "chn", "subtype", "stream", "profile", "camera", "cam", "resolution"})
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class _Source:
    """A source before it has its final name: ``names`` are the candidates, shortest first."""

    uri: str
    kind: str
    explicit: str | None
    names: tuple[str, ...]


def parse_cameras(specs: Sequence[str]) -> list[CameraSpec]:
    """Turn what the user wrote into cameras, in the order given (a glob's matches in natural order).

    Each text is a path, a quoted glob, an image folder, a MOTChallenge sequence (or its image folder), a URL, a
    webcam number, or ``name=`` before any of those. Unnamed cameras are called after their file; where that is not
    unique, after folder and file. A file or folder whose name is a number is written ``./0``.

    Raises:
        SourceError: a source does not exist or cannot be a camera, two cameras have one name, or one source
            stands there twice.
    """
    sources = [source for text in specs for source in _parse(text)]
    if not sources:
        raise SourceError("no camera given: name a video, an image folder, an rtsp:// URL or a webcam number")
    _refuse_repeats(sources)
    return [CameraSpec(name, s.uri, s.kind) for name, s in zip(_choose_names(sources), sources, strict=True)]


def shown_uri(uri: str) -> str:
    """A path or URL as it may be shown: without user, password and query values that may be keys or tokens."""
    if not _URL.match(uri):
        return uri
    # Greedy up to the last '@': a password may itself hold '@', '/' or '?'.
    head, mark, query = re.sub(r"://.*@", "://***@", uri, flags=re.DOTALL).partition("?")
    if not mark:
        return head
    shown = []
    for key, value in parse_qsl(query, keep_blank_values=True):
        public = value if key.lower() in _PUBLIC_QUERY else "***"
        shown.append(f"{key}={public}" if value else "***")  # a key without value may be the token itself
    return f"{head}?{'&'.join(shown) or '***'}"


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key that orders ``img2`` before ``img10``."""
    return [(0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
            for part in re.split(r"([0-9]+)", text) if part]


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder in natural order. Only regular files: opening a FIFO would hang."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(images, key=lambda p: natural_key(p.name))


def _parse(text: str) -> list[_Source]:
    text = str(text)
    name: str | None = None
    target = text
    head, equals, tail = text.partition("=")
    # URLs and paths may hold '=' themselves: only what looks like a name and is not a path is one.
    if equals and _NAME.fullmatch(head) and not os.path.lexists(text) and not _matches(text):
        name, target = head, tail
        if clean_name(head) != head:
            raise SourceError(f"camera name '{head}' cannot be used as a file name: choose one of letters and digits")
    if not target.strip():
        raise SourceError(f"camera '{text}' has no source: write name=source")
    if target.isascii() and target.isdigit():
        return [_Source(target, "webcam", name, (f"webcam{int(target)}",))]
    if _URL.match(target):
        return [_parse_url(target, name)]
    if (_MEANT_AS_URL.search(target) or redact(target) != target) and not (os.path.lexists(target) or _matches(target)):
        # Only what cannot be secret is shown: a password with a blank could not be recognised inside longer messages.
        shown = re.sub(".*@", "***@", target, flags=re.DOTALL).partition("?")[0]
        raise SourceError(f"'{shown}' is no URL of a camera: write NAME=rtsp://host/path, without blanks")
    paths = _expand(target)
    if name and len(paths) > 1:
        raise SourceError(f"'{text}' names {len(paths)} videos with one name: leave the name out, or name each of them")
    return [_inspect(path, name) for path in paths]


def _parse_url(url: str, name: str | None) -> _Source:
    scheme = _URL.match(url).group(1).lower()  # type: ignore[union-attr]
    if scheme == "file":
        return _inspect(url[len("file://"):], name)
    if scheme not in URL_SCHEMES:
        raise SourceError(f"{shown_uri(url)}: unknown kind of URL '{scheme}'{suggest(scheme, URL_SCHEMES)}; "
                          f"known: {', '.join(URL_SCHEMES)}")
    if re.search(r"[\s'\"]", url):
        # Such a URL could not be recognised, and so not be hidden, inside longer messages.
        raise SourceError(f"a {scheme}:// camera URL holds a blank or a quote: write it percent-encoded (blank: %20)")
    # Cut credentials before splitting: a password may hold '/', '#' or ':' that would upset a URL parser.
    bare = redact(url).replace("***@", "", 1)
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SourceError(f"{shown_uri(url)}: not a valid URL; write it like rtsp://host:554/path") from None
    if not host and scheme not in ("udp", "rtp", "srt", "tcp"):
        raise SourceError(f"{shown_uri(url)}: no host in the URL; write it like rtsp://host:554/path")
    place = re.sub(r"\.\w+$", "", parts.path)
    short = clean_name("_".join(p for p in (host, str(port or ""), place.strip("/")) if p))
    query = [f"{key}{value}" for key, value in parse_qsl(parts.query) if key.lower() in _PUBLIC_QUERY]
    return _Source(url, "stream", name, (short, clean_name("_".join([short, *query]))))


def _matches(text: str) -> bool:
    return glob.has_magic(text) and bool(glob.glob(text))


def _expand(target: str) -> list[str]:
    """A path, or the paths a glob matches."""
    if not os.path.lexists(target) and target.startswith("~"):
        target = os.path.expanduser(target)  # a quoted ~ reaches us unexpanded
    if os.path.lexists(target) or not glob.has_magic(target):
        return [target]
    found = sorted(glob.glob(target, recursive=True), key=natural_key)
    if not found:
        raise SourceError(f"no file matches '{target}': check the folder and the pattern")
    return found


def _inspect(path: str, name: str | None) -> _Source:
    """Look at what a path is without opening it (opening a FIFO would hang)."""
    try:
        mode = os.stat(path)
    except FileNotFoundError:
        raise SourceError(_missing(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        raise SourceError(f"{path} cannot be read: {reason}") from None
    if stat.S_ISDIR(mode.st_mode):
        return _inspect_folder(Path(path), name)
    if not stat.S_ISREG(mode.st_mode):
        webcam = re.fullmatch(r"/dev/video(\d+)", path)
        hint = f"for this webcam write {webcam[1]}" if webcam else "give a video file, an image folder or a URL"
        raise SourceError(f"{path} is {_special(mode.st_mode)}, not a video: {hint}")
    if mode.st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes): copy or record it again")
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        raise SourceError(f"{path} is a single image: give its folder '{Path(path).parent}' as the camera")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path} cannot be read: permission denied")
    return _Source(path, "file", name, _path_names(Path(path), Path(path).stem, Path(path).suffix))


def _inspect_folder(folder: Path, name: str | None) -> _Source:
    try:
        entries = sorted(os.listdir(folder), key=natural_key)
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from None
    for sequence in (folder, Path(os.path.abspath(folder)).parent):
        info = sequence / "seqinfo.ini"
        # The pictures' own folder stands for the sequence only if seqinfo.ini says it is the one.
        if info.is_file() and (sequence == folder or image_folder_name(info) == Path(os.path.abspath(folder)).name):
            label = Path(os.path.abspath(sequence))
            return _Source(str(sequence), "sequence", name, _path_names(label, label.name))
    if not entries:
        raise SourceError(f"{folder} is an empty folder: give a video, or a folder with images")
    if not list_images(folder):
        videos = [e for e in entries if Path(e).suffix.lower() in (".mp4", ".avi", ".mkv", ".mov", ".ts", ".webm")]
        hint = f"for its videos write '{folder}/*{Path(videos[0]).suffix}'" if videos else "give a video file instead"
        raise SourceError(f"{folder} is a folder without images (png, jpg, bmp, tif, webp): {hint}")
    label = Path(os.path.abspath(folder))
    return _Source(str(folder), "folder", name, _path_names(label, label.name))


def image_folder_name(seqinfo: Path) -> str:
    """``imDir`` of a seqinfo.ini, or its usual value where it is not readable (the reader complains later)."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(seqinfo, encoding="utf-8-sig")
        return parser.get("Sequence", "imDir", fallback="img1").strip()
    except (configparser.Error, UnicodeDecodeError, OSError):
        return "img1"


def _missing(path: str) -> str:
    place = Path(path)
    if os.path.islink(path):
        return f"{path} is a link to {os.readlink(path)}, which does not exist"
    parent = place.parent
    if not parent.is_dir():
        return f"{path} does not exist: there is no folder '{parent}'"
    try:
        near = suggest(place.name, os.listdir(parent))
    except OSError:
        near = ""
    return f"{path} does not exist{near or ': check the path'}"


def _special(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
             (stat.S_ISBLK, "a disk device"))
    return next((text for test, text in kinds if test(mode)), "a special file")


def clean_name(text: str) -> str:
    """A name that is safe as a file name on every system, at most 80 characters; ``camera`` if nothing is left."""
    name = re.sub(r"[^\w.\-]+", "_", text).strip("._ ")[-80:].strip("._ ")
    return f"_{name}" if _WINDOWS_DEVICES.match(name) else name or "camera"


def _path_names(path: Path, stem: str, suffix: str = "") -> tuple[str, ...]:
    """Candidates: the stem, then with one folder more at a time, then with the suffix (a.mp4 beside a.avi)."""
    folders = Path(os.path.abspath(path)).parent.parts[1:]
    names = [clean_name("_".join([*folders[len(folders) - depth:], stem])) for depth in range(len(folders) + 1)]
    return (*names, clean_name(stem + suffix.replace(".", "_"))) if suffix else tuple(names)


def _refuse_repeats(sources: Iterable[_Source]) -> None:
    seen: dict[str, str] = {}
    for source in sources:
        key = source.uri if source.kind in ("stream", "webcam") else os.path.realpath(source.uri)
        if source.kind == "webcam":
            key = f"webcam {int(source.uri)}"
        if key in seen:
            raise SourceError(f"{shown_uri(source.uri)} is given twice: name every camera's source once")
        seen[key] = source.uri


def _choose_names(sources: Sequence[_Source]) -> list[str]:
    """Explicit names stay; each group of equal automatic names moves to longer candidates until all differ."""
    explicit = [s.explicit for s in sources if s.explicit]
    # Compared without case: 'Cam' and 'cam' are one file on some systems.
    for name, count in Counter(n.casefold() for n in explicit).items():
        if count > 1:
            raise SourceError(f"{count} cameras are named '{name}': give each its own name")
    level = [0] * len(sources)
    while True:
        names = [s.explicit or s.names[k] for s, k in zip(sources, level, strict=True)]
        counts = Counter(n.casefold() for n in names)
        clashing = [i for i, n in enumerate(names) if counts[n.casefold()] > 1 and not sources[i].explicit]
        if not clashing:
            return names
        if not any(level[i] + 1 < len(sources[i].names) for i in clashing):
            break
        for i in clashing:
            level[i] = min(level[i] + 1, len(sources[i].names) - 1)
    first = clashing[0]
    raise SourceError(f"two cameras would be named '{names[first]}': name one of them, "
                      f"e.g. cam{first + 1}={shown_uri(sources[first].uri)}")
