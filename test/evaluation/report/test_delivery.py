"""Every played frame is in exactly one column."""

from __future__ import annotations

import pytest

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport


def test_the_columns_add_up_to_what_was_played() -> None:
    delivery = DeliveryReport.from_counts({"received": 9, "processed": 5, "dropped": 3, "failed": 1}, played=10, recorded=5)
    delivery.check()
    assert delivery.answered + delivery.dropped + delivery.failed + delivery.lost == delivery.played == 10
    assert delivery.line() == "played 10 = answered 5 + dropped 3 + failed 1 + lost in transport 1"


def test_answers_that_did_not_arrive_are_told() -> None:
    delivery = DeliveryReport(played=4, received=4, answered=4, dropped=0, failed=0, recorded=3)
    delivery.check()
    assert delivery.line().endswith("; 1 of the answers did not reach the recorder")


@pytest.mark.parametrize(
    "delivery",
    [
        DeliveryReport(played=4, received=4, answered=2, dropped=1, failed=0, recorded=2),  # one is nowhere
        DeliveryReport(played=3, received=4, answered=4, dropped=0, failed=0, recorded=4),  # somebody else plays too
        DeliveryReport(played=4, received=4, answered=4, dropped=0, failed=0, recorded=5),  # somebody else answers too
    ],
)
def test_what_does_not_add_up_is_an_error(delivery: DeliveryReport) -> None:
    with pytest.raises(GraphError, match="do not add up"):
        delivery.check()
