"""Files beside the pictures: attributes in the form of Market-1501's annotation, and a README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mctrack.synth.reid.dataset import Recipe


def write_attributes(out: Path, attributes: list[dict[str, int]], train: int) -> None:
    """``market_attribute.mat`` (structures ``train`` and ``test``) and ``attributes.json`` (per file-name identity)."""
    from scipy.io import savemat

    def part(rows: list[dict[str, int]], first: int) -> dict[str, Any]:
        names = list(attributes[0])
        fields: dict[str, Any] = {n: np.array([[r[n] for r in rows]], np.uint8) for n in names}
        index = np.empty((1, len(rows)), object)
        for k in range(len(rows)):
            index[0, k] = f"{first + k + 1:04d}"
        fields["image_index"] = index
        return fields

    structure = {"train": part(attributes[:train], 0), "test": part(attributes[train:], train)}
    savemat(str(out / "market_attribute.mat"), {"market_attribute": structure}, do_compression=True)
    table = {f"{k + 1:04d}": row for k, row in enumerate(attributes)}
    (out / "attributes.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


def readme(recipe: Recipe, train: int, seen: int, places: int) -> str:
    """What the folder holds."""
    people = recipe.people.split(":")[0]
    held = recipe.cameras - seen
    last = (
        f"The last {held} cameras and their places are seen by test identities only (`test-held-out`).\n"
        if held
        else ""
    )
    more = f" --new-cameras {recipe.new_cameras}" if recipe.new_cameras else ""
    if recipe.new_cameras:
        last += (f"Cameras from {recipe.cameras + 1} on stand in places of training; only test identities are seen by "
                 "them (`test-new-cameras`).\n")  # fmt: skip
    test, count, label = recipe.identities - train, recipe.cameras, people + (":DIR" if people == "makehuman" else "")
    return f"""# People rendered for re-identification

Made by `mctrack synth reid --identities {recipe.identities} --cameras {recipe.cameras} --images {recipe.images} \
--seed {recipe.seed} --test {recipe.test:g}{more} --people {label} --out DIR`; the same command
writes the same files, and goes on where it was interrupted.

The layout is that of Market-1501: `bounding_box_train` ({train} identities), `query` and `bounding_box_test`
({test} others); files are called `identity_c<camera>s1_<picture>_01.jpg`, and have their native size.
Camera numbers are unique over all folders; {count} cameras look at {places} places.
{last}
- `market_attribute.mat`: the 27 attributes in the form of Market-1501's annotation (1 no, 2 yes; age 1…4;
  `clothes` 1 dress or skirt, 2 trousers; `down` 1 long, 2 short; `up` sleeves 1 long, 2 short; `hair` 1 short,
  2 long; `gender` 1 male, 2 female). `attributes.json`: the same by identity.
- `people.json`: every identity in full, its split and cameras; every tenth wears the outfit of the one before it,
  one detail apart (`twin_of`, `difference`). `cameras.json`: every camera's style.
- `recipe.json`: what was asked for.
"""
