"""Domains of one's own."""

from __future__ import annotations

import socket

import pytest

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.ros.transport import domain_isolation as isolation
from depth_retrofit_ros.ros.transport.domain_isolation import claimed_domain, free_domain, private_environment


def test_claimed_domains_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_domain()
    monkeypatch.setattr(isolation, "_DOMAINS", [first])
    with claimed_domain() as claimed:
        assert claimed == first
        with pytest.raises(GraphError, match="in use"):
            free_domain()
    assert free_domain() == first


def test_a_domain_with_a_participant_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = free_domain()
    monkeypatch.setattr(isolation, "_DOMAINS", [domain])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("127.0.0.1", 7410 + 250 * domain))
        with pytest.raises(GraphError, match="in use"):
            free_domain()


def test_environment_of_every_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert private_environment(7)["ROS_LOCALHOST_ONLY"] == "1"
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    assert private_environment(7) == {"ROS_DOMAIN_ID": "7", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
