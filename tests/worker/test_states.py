"""The table of moves."""

from worker.states import ENDED, MOVES, STATUSES


def test_every_status_has_its_row() -> None:
    assert set(MOVES) == set(STATUSES)
    assert frozenset(status for moves in MOVES.values() for status in moves) <= set(STATUSES)


def test_end_states_are_final_and_the_others_are_not() -> None:
    assert frozenset({"succeeded", "failed", "cancelled"}) == ENDED
    assert MOVES["queued"] == {"running", "failed", "cancelled"}
    assert MOVES["running"] == {"running", "succeeded", "failed", "cancelled"}
