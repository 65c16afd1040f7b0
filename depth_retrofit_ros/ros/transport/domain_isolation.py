"""A ROS domain of one's own, so that a replay neither hears nor disturbs the robot (or the test) beside it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from depth_retrofit_ros.errors import GraphError

# DDS-RTPS 9.6.2: the ports of domain d begin at 7400 + 250 d. Above 101 they run into Linux's ephemeral range.
_DOMAINS = range(1, 102)
_FIRST_UNICAST_OFFSET = 10


def free_domain() -> int:
    """A random domain in which no participant of this machine listens at the moment. Raises GraphError where all are taken."""
    order = list(_DOMAINS)
    random.SystemRandom().shuffle(order)
    for domain in order:
        if _is_free(domain):
            return domain
    raise GraphError("every ROS domain from 1 to 101 is in use on this machine: stop some nodes, or give --domain")


@contextmanager
def claimed_domain() -> Iterator[int]:
    """A free domain that nobody else who claims one is given meanwhile, although no node of ours listens there yet."""
    while True:
        domain = free_domain()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as claim:
            try:
                claim.bind(_claim_address(domain))
            except OSError:  # somebody was faster
                continue
            yield domain
            return


def private_environment(domain: int) -> dict[str, str]:
    """The variables that keep a graph in ``domain`` and on this machine, for every distribution."""
    variables = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}  # Iron and later
    if os.environ.get("ROS_DISTRO") == "humble":
        variables["ROS_LOCALHOST_ONLY"] = "1"  # later distributions warn about it
    return variables


def _claim_address(domain: int) -> tuple[str, int]:
    return "127.0.0.1", 7400 + 250 * domain  # TCP: DDS itself uses UDP there


def _is_free(domain: int) -> bool:
    """Whether neither the port of a first participant is bound nor the domain claimed."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as claim,
    ):
        try:
            participant.bind(("", 7400 + 250 * domain + _FIRST_UNICAST_OFFSET))
            claim.bind(_claim_address(domain))
        except OSError:
            return False
    return True
