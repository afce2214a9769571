"""Matrix products of a compile run in one thread, and those of the caller as before."""

from __future__ import annotations

import pytest

from t2m_edge.compiler.one_thread import _openblas, one_thread


@pytest.fixture
def threads():
    functions = _openblas()
    if functions is None:
        pytest.skip("numpy was built without OpenBLAS")
    tell, change = functions
    before = tell()
    change(2)
    yield tell
    change(before)


def test_one_thread_inside_and_the_callers_number_afterwards(threads):
    with one_thread():
        assert threads() == 1
        with one_thread():
            assert threads() == 1
    assert threads() == 2


def test_the_number_is_set_back_after_an_error(threads):
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert threads() == 2
