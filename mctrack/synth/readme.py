"""The README that goes with generated clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mctrack.synth.truth import IGNORE_BELOW, CameraTruth, ground_hz

if TYPE_CHECKING:
    from mctrack.synth.world import World

_LAYOUT = """## What is here

| file | content |
|---|---|
| `<camera>.mp4` | the clip (H.264); {stamps} |
| `gt/<camera>.txt` | MOTChallenge: frame from 1, global id, left, top, width, height, 1 or 0, class 1, visibility |
| `gt/<camera>.ini` | frame rate, length and size |
{times}| `calibration.json` | K, distortion, R, t, size, fps and image-to-floor homography of every camera, metres |
| `ground_truth_ground.csv` | time_s, id, x_m, y_m, counts, {hz} times a second; counts is 1 of everyone inside an \
area, seen or not, or seen, and 0 behind a door and in no picture (neither hit nor miss) |
| `topology.json` | which cameras overlap, transition times that occurred |
| `identities.json` | who wears what, when they are seen, look-alikes, absences |

An id means the same person in every camera. Boxes are in pixels (0, 0 = top left corner of the picture) around the
whole body, bag and hat, including parts hidden by people or furniture, cut at the picture's edges. Visibility is the
share of the body's samples (4 per pixel, depth-buffered) inside the picture and not hidden. Rows exist wherever it is
above 0; below {ignore:g} the seventh column is 0 (to be ignored: neither hit nor miss).
"""

_TIMES = "| `gt/<camera>_times.csv` | frame from 1, its stamp in the clip, its true time (where they differ) |\n"


def readme(world: World, truths: list[CameraTruth], gaps: list[dict[str, Any]], command: str) -> str:
    """Markdown: what the clips show, how they were made, and their licence."""
    cameras = ", ".join(
        f"{t.camera.name} ({t.area}, {t.camera.size[0]}×{t.camera.size[1]}, {t.camera.fps:g} fps)" for t in truths
    )
    people = "\n".join(f"- {k + 1}: {p.describe()}" for k, p in enumerate(world.people))
    twins = (
        "\n".join(
            f"- {a} and {b}: same outfit, different {pair['difference']}"
            for pair in world.look_alikes
            for a, b in [pair["ids"]]
        )
        or "- nobody"
    )
    away = (
        "\n".join(
            f"- {g['id']}: {g['from_area']} → {g['to_area']}, {g['left_s']:.1f} s – {g['back_s']:.1f} s "
            f"({g['away_s']:.1f} s)"
            for g in gaps
        )
        or "- nobody"
    )
    plain = all(t.shots.plain for t in truths)
    stamps = (
        "time stamps are true, all cameras start at the same moment"
        if plain
        else "time stamps are those of the camera's own clock (`clock` in calibration.json), lost frames are missing"
    )
    layout = _LAYOUT.format(hz=f"{ground_hz(truths):g}", ignore=IGNORE_BELOW, stamps=stamps,
                            times="" if plain else _TIMES)  # fmt: skip
    made = f"Made by\n\n    {command}\n\n" if command else ""
    return (
        f"# Generated clips with exact ground truth\n\n{len(world.people)} people, {world.seconds:g} s, {cameras}.\n\n"
        f"{made}Same command, same truth (seed {world.seed}); pictures may differ in the last bit between machines.\n\n"
        f"The clips and everything beside them are generated, show no real person, and are dedicated to the public\n"
        f"domain under [CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/).\n\n"
        f"{layout}\n## Who is who\n\n{people}\n\n"
        f"## Look-alikes\n\n{twins}\n\n## Absences\n\nOut of every picture, and back:\n\n{away}\n"
    )
