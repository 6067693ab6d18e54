from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovbench.datasets.reading.encoding import LabelEncoding, background_encoding
from ovbench.errors import DataError
from ovbench.harness.contract.arrays import LabelMap

SOURCE = Path("label.png")
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2)
ENCODINGS = st.dictionaries(st.integers(0, 255), st.integers(0, 255), min_size=1)
WIDE = st.dictionaries(st.integers(0, 300), st.integers(0, 255), min_size=1)
DEPTHS = st.sampled_from([np.uint8, np.uint16, np.uint32])


@given(DEPTHS.flatmap(lambda depth: arrays.arrays(depth, SHAPES)), st.one_of(ENCODINGS, WIDE))
def test_every_pixel_is_looked_up_or_the_file_refused(
    raw: LabelMap, labels: dict[int, int]
) -> None:
    encoding = LabelEncoding.of("benchmark", labels)
    strays = sorted(set(raw.ravel().tolist()) - set(labels))
    if strays:
        with pytest.raises(DataError) as caught:
            encoding.decode(raw, SOURCE)
        shown = ", ".join(map(str, strays[:20])) + ", …" * (len(strays) > 20)
        assert str(caught.value) == f"label.png: label values [{shown}] are unknown to benchmark"
    else:
        decoded = encoding.decode(raw, SOURCE)
        assert decoded.dtype == np.uint8
        assert decoded.tolist() == [[labels[value] for value in row] for row in raw.tolist()]


@pytest.mark.parametrize("unknown", [0, 255, 256])
def test_an_unknown_value_is_found_where_every_label_is_used(unknown: int) -> None:
    labels = {stored: stored % 256 for stored in range(300) if stored != unknown}
    encoding = LabelEncoding.of("benchmark", labels)
    known = np.array([sorted(labels)])
    assert encoding.decode(known.astype(np.uint16), SOURCE).tolist() == [[*labels.values()]]
    low = known[known < 256].astype(np.uint8)[None]
    assert encoding.decode(low, SOURCE).tolist() == low.tolist()
    for depth in (np.uint8, np.uint16) if unknown < 256 else (np.uint16,):
        with pytest.raises(DataError, match=rf"\[{unknown}\]"):
            encoding.decode(np.array([[unknown]], depth), SOURCE)


@given(st.data())
def test_a_known_map_is_decoded_whatever_its_memory_layout(data: st.DataObject) -> None:
    labels = data.draw(ENCODINGS)
    raw = data.draw(arrays.arrays(np.uint8, SHAPES, elements=st.sampled_from(sorted(labels))))
    encoding = LabelEncoding.of("benchmark", labels)
    assert (encoding.decode(raw.T, SOURCE) == encoding.decode(raw, SOURCE).T).all()


@pytest.mark.parametrize("value", range(256))
def test_voc_knows_22_values(value: int) -> None:
    raw = np.full((1, 1), value, np.uint8)
    if 21 <= value <= 254:
        for rule in ("class", "ignore"):
            with pytest.raises(DataError, match=rf"\[{value}\]"):
                background_encoding("voc", 20, rule).decode(raw, SOURCE)
    else:
        assert background_encoding("voc", 20, "class").decode(raw, SOURCE).item() == value
        shifted = value - 1 if 1 <= value <= 20 else 255
        assert background_encoding("voc", 20, "ignore").decode(raw, SOURCE).item() == shifted
