"""Saved state comes back exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mctrack.errors import OutputError
from mctrack.sinks.state import dump_state, load_state

DTYPES = st.sampled_from(["?", "i1", "u1", "<i4", ">i4", "i8", "f2", "f4", "f8", ">f8", "c8", "U3", "S2", "M8[ms]"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
ARRAYS = DTYPES.flatmap(lambda d: hnp.arrays(np.dtype(d), SHAPES))
SCALARS = st.sampled_from([np.float32(1.5), np.float64(math.nan), np.int64(-3), np.True_, np.uint8(255), np.str_("ä")])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(2**70, 2**90), st.floats(), st.text(), ARRAYS, SCALARS
)
KEYS = st.one_of(st.text(max_size=4), st.integers(-5, 5), st.tuples(st.text(max_size=2), st.integers(0, 3)))
TREES = st.recursive(
    LEAVES,
    lambda child: st.one_of(
        st.lists(child, max_size=3), st.lists(child, max_size=3).map(tuple), st.dictionaries(KEYS, child, max_size=3)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Exactly alike: types, dtypes, shapes, order of keys, NaN and the sign of zero included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


@given(st.dictionaries(KEYS, TREES, max_size=4))
@settings(deadline=None)
def test_state_comes_back_exactly(state: dict[Any, Any]) -> None:
    assert same(load_state(dump_state(state)), state)


def test_what_hypothesis_might_miss() -> None:
    state = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "empty": np.zeros((0, 512), np.float32),
        "nan": np.array([math.nan, -0.0, math.inf]),
        1: [True, 1, 1.0, "1", None, ()],
        "1": {"nested": {-2: np.float32(0.1)}},
        "rng": np.random.default_rng(3).bit_generator.state,
    }
    back = load_state(dump_state(state))
    assert same(back["nan"], state["nan"])
    assert same(back[1], state[1])
    assert same(back["1"], state["1"])
    np.testing.assert_array_equal(back["fortran"], state["fortran"])
    np.testing.assert_array_equal(back["strided"], state["strided"])
    assert back["empty"].shape == (0, 512)
    back["strided"][0] = 7  # an array that cannot be written to would break whoever restores from it
    generator = np.random.default_rng()
    generator.bit_generator.state = back["rng"]
    assert generator.random() == np.random.default_rng(3).random()


def test_state_is_a_copy() -> None:
    array = np.zeros(3)
    data = dump_state({"a": array})
    array += 1
    np.testing.assert_array_equal(load_state(data)["a"], np.zeros(3))


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), b"bytes", {None: 1}, {True: 1}, {1.5: 1}])
def test_refuses_what_it_cannot_hold_and_says_where(value: Any) -> None:
    with pytest.raises(TypeError, match=r"state\.tracker\.deep\[1\]"):
        dump_state({"tracker": {"deep": [0, value]}})


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_damage_is_noticed(data: st.DataObject) -> None:
    good = dump_state({"a": np.arange(5), "b": "text"})
    place = data.draw(st.integers(0, len(good) - 1))
    flipped = bytearray(good)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for bad in (bytes(flipped), good[:place]):
        with pytest.raises(OutputError, match="saved state cannot be read"):
            load_state(bad)
