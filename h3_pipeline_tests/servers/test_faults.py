"""Which requests a fault meets."""

import json
import re

import pytest

from h3_pipeline_tests.servers.faults import Action, Fault, FaultPlan


def test_meets_the_next_matching_requests_only() -> None:
    plan = FaultPlan()
    plan.add(Fault.reset("^INSERT", times=2, skip=1))
    met = [plan.take(subject) is not None for subject in ("INSERT 1", "SELECT", "insert 2", "INSERT 3", "INSERT 4")]
    assert met == [False, False, True, True, False]
    assert plan.due() == []


def test_what_is_left_can_be_seen() -> None:
    plan = FaultPlan()
    plan.add(Fault.delay("a", 0.5, times=3, skip=1))
    plan.take("a")
    plan.take("a")
    assert plan.due() == [Fault.delay("a", 0.5, times=2)]


def test_without_times_it_meets_every_request() -> None:
    plan = FaultPlan()
    plan.add(Fault.error("x", 503, times=None))
    assert all(plan.take("x") for _ in range(10))
    plan.clear()
    assert plan.take("x") is None


def test_the_first_of_several_meets_the_request() -> None:
    plan = FaultPlan()
    plan.add(Fault.reset("x"), Fault.truncate("x", 3))
    actions = [fault.action for fault in (plan.take("x"), plan.take("x")) if fault]
    assert actions == [Action.RESET, Action.TRUNCATE]


def test_patterns_reach_over_lines() -> None:
    plan = FaultPlan()
    plan.add(Fault.reset("insert.*trips"))
    assert plan.take("INSERT INTO\n  trips")


@pytest.mark.parametrize(
    "fault",
    [
        Fault.reset("a", after=True),
        Fault.error("b", 503, body="no", headers={"Retry-After": "1"}, times=None),
        Fault.delay("c", 1.5, skip=2),
        Fault.truncate("d", 10, times=4),
    ],
)
def test_survives_json(fault: Fault) -> None:
    assert Fault.from_dict(json.loads(json.dumps(fault.to_dict()))) == fault


def test_a_mistake_shows_where_it_is_made() -> None:
    with pytest.raises(re.error):
        Fault.reset("(")
    with pytest.raises(ValueError, match="times=0"):
        Fault.reset("a", times=0)
