"""Slots between two threads: ``Latest`` keeps the newest item, ``Queue`` every one, in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")


class Finished(Exception):  # noqa: N818 - the end of a stream, no error
    """Nothing more will come."""


class Slot(Protocol[Item]):
    """A hand-over from one stage's thread to the next's."""

    def put(self, item: Item) -> Item | None:
        """Hand ``item`` over; returns the item that it displaced, if any."""
        ...

    def get(self, timeout_s: float) -> Item | None:
        """The next item, or None after ``timeout_s``; raises ``Finished`` behind the last."""
        ...

    @property
    def holds(self) -> int:
        """Number of items inside."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Whether an item is there within ``timeout_s``; raises ``Finished`` behind the last."""
        ...

    def finish(self) -> None:
        """No more items will be put; those inside are still got."""
        ...

    def abort(self) -> None:
        """Drop what is inside and end both sides at once."""
        ...


class _Slot(Generic[Item]):
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._finished = False

    def get(self, timeout_s: float) -> Item | None:
        with self._changed:
            if not self._items and not self._finished:
                self._changed.wait(timeout_s)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._finished:
                raise Finished
            return None

    @property
    def holds(self) -> int:
        return len(self._items)

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            if not self._items and not self._finished:
                self._changed.wait(timeout_s)
            if not self._items and self._finished:
                raise Finished
            return bool(self._items)

    def finish(self) -> None:
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def abort(self) -> None:
        with self._changed:
            self._finished = True
            self._items.clear()
            self._changed.notify_all()


class Latest(_Slot[Item]):
    """One item; a newer one overwrites it, which ``dropped`` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0

    def put(self, item: Item) -> Item | None:
        """Put the item; return the one that it replaces, if any."""
        with self._changed:
            if self._finished:
                return item
            displaced = self._items.popleft() if self._items else None
            self.dropped += displaced is not None
            self._items.append(item)
            self._changed.notify_all()
            return displaced


class Queue(_Slot[Item]):
    """Every item, in order; ``put`` waits while ``size`` are inside."""

    dropped = 0

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    @property
    def has_room(self) -> bool:
        """Whether a ``put`` would not wait; it stays so where one thread alone puts."""
        return len(self._items) < self._size

    def put(self, item: Item) -> Item | None:
        """Wait for room and put the item; return it where the queue has finished."""
        with self._changed:
            while len(self._items) >= self._size and not self._finished:
                self._changed.wait()
            if self._finished:
                return item
            self._items.append(item)
            self._changed.notify_all()
            return None
