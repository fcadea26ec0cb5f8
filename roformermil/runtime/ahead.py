"""Work done ahead of its use, in a thread."""

from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
END_POLLS, POLL_SECONDS = 100, 0.05  # for the thread to end where not all items are used


@dataclass
class _End:
    """What the thread sends last."""

    error: BaseException | None = None


def compute_ahead(items: Generator[T, None, None], count: int) -> Generator[T, None, None]:
    """The items, computed in a thread up to `count` ahead of their use. Raises what computing them raises.

    That gains time where computing them mostly waits, or copies without Python's lock. `items` is closed in the thread, also
    where this generator is closed early.
    """
    queue: Queue[T | _End] = Queue(count)
    stopped = Event()

    def work() -> None:
        end = _End()
        try:
            with closing(items):
                for item in items:
                    queue.put(item)
                    if stopped.is_set():
                        break
        except BaseException as error:
            end.error = error
        queue.put(end)

    thread = Thread(target=work, daemon=True)  # Ctrl-C does not wait for one that waits for a disk
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error:
            raise item.error
    finally:
        stopped.set()
        for _ in range(END_POLLS):
            with suppress(Empty):  # make room for what the thread still adds
                queue.get_nowait()
            thread.join(POLL_SECONDS)
            if not thread.is_alive():
                break
