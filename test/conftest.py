"""What every test gets: a ROS domain of its own, fixed seeds, few threads, and the development data where there is any."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from depth_retrofit_ros.ros.transport.domain_isolation import free_domain, private_environment
from test.paths import ROOT
from test.skip_table import skip_table

# Only what a test brings is there: neither the user's checkpoints nor what they fetched from the hub. Read when the hub's library
# is imported, and by processes that tests start.
os.environ.pop("DEPTH_RETROFIT_WEIGHTS", None)
os.environ["HF_HUB_CACHE"] = "/nonexistent/hub"
# No test waits for programs of sizes that it does not ask for; those of the engines ask.
os.environ["DEPTH_RETROFIT_COARSE_ENGINE"] = "eager"
# A message's field of the wrong type, such as 0 for 0.0, fails here. Unnoticed, it aborts a node whose messages were built with C's
# assertions on, as colcon builds them. Read when a message is imported, which the conftest of test/ros does.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
torch.set_num_threads(1)  # on a busy machine, threads that wait for one another make small tensors ten times slower
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def claim_domain() -> tuple[int, socket.socket]:
    """A free ROS domain, and the socket that keeps other test runs on this machine from taking the same while it is open."""
    while True:
        domain = free_domain()
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind(("127.0.0.1", 7400 + 250 * domain))  # DDS itself uses UDP there
        except OSError:
            claim.close()
        else:
            return domain, claim


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module can import rclpy; processes that tests start inherit it."""
    domain, claim = claim_domain()
    config.add_cleanup(claim.close)
    os.environ.update(private_environment(domain))
    os.environ.pop("ROS_STATIC_PEERS", None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests for CUDA are skipped here, for one reason in one wording."""
    if item.get_closest_marker("cuda") is not None and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out, and why."""
    lines = skip_table(terminalreporter.stats.get("skipped", []))
    if lines:
        terminalreporter.section("skipped, by reason", sep="-")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data (photos, bags, checkpoints): DEPTH_RETROFIT_SHARED, or ../shared/data beside the checkout."""
    beside = ROOT.parent / "shared" / "data"
    path = Path(os.environ.get("DEPTH_RETROFIT_SHARED", beside))
    if not path.is_dir():
        pytest.skip("no development data: set DEPTH_RETROFIT_SHARED to a folder with bags/, photos/ and weights/")
    return path
