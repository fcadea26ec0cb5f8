import threading
import time
from contextlib import closing

import pytest

from roformermil.runtime.ahead import compute_ahead


def test_items_are_computed_in_another_thread_in_order_and_no_further_ahead_than_asked():
    computed = []

    def items():
        for k in range(20):
            computed.append((k, threading.get_ident()))
            yield k

    ahead = compute_ahead(items(), 2)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert 3 <= len(computed) <= 4, "one used, two ahead, one that waits for room"
    assert list(ahead) == list(range(1, 20))
    assert {thread for _, thread in computed} != {threading.get_ident()} and len(computed) == 20


def test_an_error_arrives_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("the third")

    ahead = compute_ahead(items(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(ahead)


@pytest.mark.parametrize("used", [0, 1, 5])
def test_what_is_not_used_is_closed_and_no_thread_is_left(used):
    closed, threads = [], threading.active_count()

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.get_ident())

    with closing(compute_ahead(items(), 1)) as ahead:
        for _ in range(used):
            next(ahead)
    assert threading.active_count() == threads
    assert len(closed) == (used > 0), "a generator that never began has nothing to close"


def test_one_that_waits_for_a_disk_does_not_keep_the_program(monkeypatch):
    monkeypatch.setattr("roformermil.runtime.ahead.END_POLLS", 2)
    disk, first = threading.Event(), threading.Event()

    def items():
        yield 1
        first.set()
        disk.wait()
        yield 2

    start = time.perf_counter()
    with closing(compute_ahead(items(), 1)) as ahead:
        next(ahead)
        first.wait()
    assert time.perf_counter() - start < 5
    disk.set()
