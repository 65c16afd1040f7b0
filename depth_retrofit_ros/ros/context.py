"""What ROS 2 says where it cannot start, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from depth_retrofit_ros.errors import SetupError

_SOURCE = re.compile(r",? at \S+:\d+")  # where in rcl's own code it was noticed

_MIXED_LIST = "Sequence should be of same type"


def rcl_words(error: Exception) -> str:
    """What rcl says, in one line and without the places in its own code."""
    return " ".join(_SOURCE.sub("", str(error)).split())


@contextmanager
def ros_start() -> Iterator[None]:
    """A block that imports rclpy and makes a context and nodes. Raises SetupError for whatever rclpy raises meanwhile.

    The environment's usual faults are told before, with their remedy: see ``environment.require_ros``.
    """
    try:
        yield
    except UnicodeEncodeError as error:  # a file name's bytes, as Python hands them on
        raise SetupError(f"ROS 2 takes UTF-8 alone, and {error.object!r} is not: give the file or name another one") from error
    except RuntimeError as error:
        said = rcl_words(error)
        remedy = ": write all numbers of a list alike, 0.0 rather than 0" if _MIXED_LIST in said else ""
        raise SetupError(f"ROS 2 cannot start: {said}{remedy}") from error
    except Exception as error:
        from rclpy.exceptions import NameValidationException, ParameterException

        if not isinstance(error, NameValidationException | ParameterException):
            raise
        raise SetupError(f"ROS 2 cannot start: {' '.join(str(error).split())}") from error
