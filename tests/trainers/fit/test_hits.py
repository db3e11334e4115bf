import numpy as np
from hypothesis import given, strategies as st

from trainers.fit.hits import packed, unpacked


@given(st.lists(st.booleans(), max_size=50))
def test_hits_come_back_as_they_were_written(hits):
    assert unpacked(packed(np.array(hits, dtype=bool))).tolist() == hits


def test_three_hundred_texts_take_few_characters():
    assert len(packed(np.ones(300, dtype=bool))) == 56
