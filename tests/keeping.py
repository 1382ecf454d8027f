"""A sink that keeps every result."""

from __future__ import annotations

from edgecam.core.result import Result


class Keep:
    def __init__(self) -> None:
        self.results: list[Result] = []

    def publish(self, result: Result) -> None:
        self.results.append(result)

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        return
