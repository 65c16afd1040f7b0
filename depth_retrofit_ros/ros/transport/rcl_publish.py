"""Publish bytes where they lie: rcl's own function, called past rclpy.

``Publisher.publish(bytes)`` of rclpy copies the bytes twice before the middleware has them (a ``bytes`` object of what lies in
memory that is used again, and a C++ string of that), and Python's lock is held until the middleware is done. The function below
it, the same in every release since 2019, takes an address. rclpy tells the publisher's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from rclpy._rclpy_pybind11 import RCLError

if TYPE_CHECKING:
    from rclpy.publisher import Publisher

Publish = Callable[["Publisher", np.ndarray], None]

_OK = 0  # RCL_RET_OK, RCUTILS_RET_OK
_PROBED = 4096  # bytes
_ERROR_BYTES = 1024  # RCUTILS_ERROR_MESSAGE_MAX_LENGTH


class _Allocator(ctypes.Structure):
    """``rcutils_allocator_t``."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")]


class _Serialized(ctypes.Structure):
    """``rcl_serialized_message_t``, which is an ``rcutils_uint8_array_t``."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    ]


class _Error(ctypes.Structure):
    """``rcutils_error_string_t``."""

    _fields_ = [("text", ctypes.c_char * _ERROR_BYTES)]


@cache
def rcl_publish() -> Publish | None:
    """A function that sends a serialized message, contiguous ``uint8 [n]``, as it lies there; None where this rclpy has no such.

    The function raises what ``Publisher.publish`` does: InvalidHandle for a destroyed publisher, RCLError where rcl refuses.
    The message is the caller's again when it returns. Other threads of Python run meanwhile.
    """
    try:
        rcl, utilities = (ctypes.CDLL(f"lib{name}.so", mode=os.RTLD_NOLOAD) for name in ("rcl", "rcutils"))  # those of rclpy
        send = rcl.rcl_publish_serialized_message
        send.restype, send.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(_Serialized), ctypes.c_void_p)
        what, forget = utilities.rcutils_get_error_string, utilities.rcutils_reset_error
        what.restype, what.argtypes, forget.restype, forget.argtypes = _Error, (), None, ()
        if not _is_as_declared(utilities):
            return None
    except (OSError, AttributeError):  # other names, as on another system; a library that has no such function
        return None

    def publish(publisher: Publisher, message: np.ndarray) -> None:
        serialized = _Serialized(message.ctypes.data, message.nbytes, message.nbytes)  # no allocator: rcl only reads
        with publisher.handle:  # keeps it alive, whoever destroys it meanwhile
            answer = send(publisher.handle.pointer, ctypes.byref(serialized), None)
        if answer != _OK:
            text = what().text.decode(errors="replace")
            forget()
            raise RCLError(f"Failed to publish: {text}")

    return publish


def _is_as_declared(utilities: ctypes.CDLL) -> bool:
    """Whether ``_Serialized`` is what this machine's libraries have under that name: one that they fill in reads as it should."""
    default, begin, end = (
        getattr(utilities, f"rcutils_{name}") for name in ("get_default_allocator", "uint8_array_init", "uint8_array_fini")
    )
    default.restype, default.argtypes = _Allocator, ()
    begin.restype, begin.argtypes = ctypes.c_int, (ctypes.POINTER(_Serialized), ctypes.c_size_t, ctypes.POINTER(_Allocator))
    end.restype, end.argtypes = ctypes.c_int, (ctypes.POINTER(_Serialized),)
    allocator, probe = default(), _Serialized()
    if begin(ctypes.byref(probe), _PROBED, ctypes.byref(allocator)) != _OK:
        return False
    fits = bool(probe.buffer) and (probe.length, probe.capacity, bytes(probe.allocator)) == (0, _PROBED, bytes(allocator))
    return end(ctypes.byref(probe)) == _OK and fits
