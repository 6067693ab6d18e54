from __future__ import annotations

import threading
import time

import pytest

from ovbench.errors import DataError
from ovbench.harness.files.loader import prefetch

PATIENCE_S = 30


@pytest.fixture(autouse=True)
def no_thread_outlives_its_reader():
    yield
    assert not [t for t in threading.enumerate() if t.name.startswith("ovbench-read")]


def test_order_is_kept_and_everything_comes_once(memory_dataset) -> None:
    dataset = memory_dataset(count=50)
    order = [*range(49, -1, -1), 3]
    loaded = list(prefetch(dataset, order, workers=4))
    assert [item.index for item in loaded] == order
    assert [item.sample.id for item in loaded] == [dataset.ids[i] for i in order]
    assert all(item.load_s > 0 for item in loaded)


def test_order_is_kept_where_later_reads_end_first(memory_dataset) -> None:
    second_is_read = threading.Event()

    class Swapped(memory_dataset):
        def load(self, index):
            if index == 0:
                assert second_is_read.wait(PATIENCE_S)
            sample = super().load(index)
            if index == 1:
                second_is_read.set()
            return sample

    loaded = list(prefetch(Swapped(), range(4), workers=2))
    assert [item.index for item in loaded] == [0, 1, 2, 3]


def test_nothing_to_read(memory_dataset) -> None:
    assert list(prefetch(memory_dataset(), [])) == []


def test_a_bad_file_is_handed_over_in_its_place(memory_dataset) -> None:
    loaded = list(prefetch(memory_dataset(bad=[2, 5]), range(8), workers=3))
    assert [item.index for item in loaded if item.sample is None] == [2, 5]
    assert isinstance(loaded[2].error, DataError)
    assert [item.index for item in loaded if item.error is None] == [0, 1, 3, 4, 6, 7]


def test_reading_goes_on_while_the_consumer_computes(memory_dataset) -> None:
    """The second sample is read although the consumer has not asked for it."""
    second = threading.Event()

    class Watched(memory_dataset):
        def load(self, index):
            if index == 1:
                second.set()
            return super().load(index)

    stream = prefetch(Watched(), range(12), workers=1)
    next(stream)
    assert second.wait(PATIENCE_S)
    stream.close()


def test_two_samples_are_read_at_once(memory_dataset) -> None:
    together = threading.Barrier(2, timeout=PATIENCE_S)

    class Paired(memory_dataset):
        def load(self, index):
            together.wait()  # returns only once another thread has come here, too
            return super().load(index)

    assert len(list(prefetch(Paired(), range(8), workers=2))) == 8


@pytest.mark.parametrize(("workers", "depth"), [(2, 3), (4, 1), (1, 5)])
def test_no_more_than_depth_is_read_ahead(memory_dataset, workers: int, depth: int) -> None:
    read = []
    arrived = threading.Condition()

    class Watched(memory_dataset):
        def load(self, index):
            with arrived:
                read.append(index)
                arrived.notify_all()
            return super().load(index)

    stream = prefetch(Watched(count=20), range(20), workers=workers, depth=depth)
    for taken in range(1, 8):
        next(stream)
        with arrived:
            assert arrived.wait_for(lambda n=taken: len(read) >= n + depth, PATIENCE_S)
            # Nothing shows that a read will never come; a moment shows that it does not.
            assert not arrived.wait_for(lambda n=taken: len(read) > n + depth, 0.01)
    stream.close()


def test_closing_early_drops_what_was_not_started(memory_dataset) -> None:
    read = []
    second, go_on = threading.Event(), threading.Event()

    class Slow(memory_dataset):
        def load(self, index):
            read.append(index)
            if index > 0:
                second.set()
                assert go_on.wait(PATIENCE_S)
                time.sleep(0.02)
            return super().load(index)

    stream = prefetch(Slow(count=50), range(50), workers=1, depth=10)
    next(stream)
    assert second.wait(PATIENCE_S)
    threading.Timer(0.1, go_on.set).start()
    stream.close()
    assert len(read) < 11  # one was yielded and ten were waiting


def test_an_interrupt_in_the_consumer_leaves_no_threads(memory_dataset) -> None:
    stream = prefetch(memory_dataset(count=50), range(50), workers=4)
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt)
    with pytest.raises(StopIteration):
        next(stream)


def test_a_bug_in_a_dataset_names_the_image(memory_dataset) -> None:
    class Broken(memory_dataset):
        def load(self, index):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        list(prefetch(Broken(), range(3)))
    assert caught.value.__notes__ == ["while reading image image-000"]
