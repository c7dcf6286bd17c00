import pytest

from tests.serving.conftest import deployed
from trivet.serving.metrics import BUCKETS, Metrics


def test_two_services_have_registries_of_their_own():
    one, other = Metrics(), Metrics()
    one.of(deployed()).failed("invalid", 3)
    assert b'outcome="invalid",role="champion",version="3"} 3.0' in one.render()[0]
    assert b'outcome="invalid"' not in other.render()[0]


def test_edges_stand_where_objectives_do():
    assert {0.005, 0.01, 0.1, 1.0} <= set(BUCKETS)
    assert list(BUCKETS) == sorted(BUCKETS)


def test_only_known_outcomes_are_counted():
    with pytest.raises(KeyError):
        Metrics().of(deployed()).failed("strange")
