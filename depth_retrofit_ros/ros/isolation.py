"""A ROS domain of one's own, so that a replay neither hears nor disturbs the robot (or the test) beside it."""

from __future__ import annotations

import os
import random
import socket

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


def private_environment(domain: int) -> dict[str, str]:
    """The variables that keep a graph in ``domain`` and on this machine, for every distribution."""
    variables = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}  # Iron and later
    if os.environ.get("ROS_DISTRO") == "humble":
        variables["ROS_LOCALHOST_ONLY"] = "1"  # later distributions warn about it
    return variables


def _is_free(domain: int) -> bool:
    """Whether the port of the first participant can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain + _FIRST_UNICAST_OFFSET))
        except OSError:
            return False
    return True
