"""The classroom: seats checked before a course, their progress on a board, slides from a run."""

from kvmlab.classroom.board import Board, board_page
from kvmlab.classroom.collection import (
    SeatSource,
    collect,
    export_class,
    export_seat,
    follow,
    reset_own_seat,
    set_seat_aside,
)
from kvmlab.classroom.preparation import Readiness, check_remote_seat, check_seat
from kvmlab.classroom.seats import IncidentRow, Seat, read_seats
from kvmlab.classroom.slides import slides_of

__all__ = [
    "Board",
    "IncidentRow",
    "Readiness",
    "Seat",
    "SeatSource",
    "board_page",
    "check_remote_seat",
    "check_seat",
    "collect",
    "export_class",
    "export_seat",
    "follow",
    "read_seats",
    "reset_own_seat",
    "set_seat_aside",
    "slides_of",
]
