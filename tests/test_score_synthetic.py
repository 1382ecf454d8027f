"""The short form of ``score-events --synthetic``."""

from __future__ import annotations

import score_synthetic


def test_no_fall_is_reported_of_a_few_who_do_not_fall() -> None:
    table = score_synthetic.score(16, rate_hz=4.0)
    assert {name: line.people for name, line in table.items()} == dict.fromkeys(table, 2)
    assert {name for name, line in table.items() if line.fallen} <= {"falls", "drops onto a sofa"}
    assert table["falls"].lying == 2
    assert len(score_synthetic.lines(table)) == len(table) + 1
