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
_TAIL, _UNTOUCHED = 1024, 0xA5  # bytes behind what a library is given to fill in, for one whose structs have grown


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
        # The text begins what this points to. (rcutils_get_error_string returns a kilobyte by value: one more size to rely on.)
        what, forget = utilities.rcutils_get_error_state, utilities.rcutils_reset_error
        what.restype, what.argtypes, forget.restype, forget.argtypes = ctypes.c_char_p, (), None, ()
        if not _is_as_declared(utilities):
            return None
    except (OSError, AttributeError):  # other names, as on another system; a library that has no such function
        return None

    def publish(publisher: Publisher, message: np.ndarray) -> None:
        serialized = _Serialized(message.ctypes.data, message.nbytes, message.nbytes)  # no allocator: rcl only reads
        with publisher.handle:  # keeps it alive, whoever destroys it meanwhile
            answer = send(publisher.handle.pointer, ctypes.byref(serialized), None)
        if answer != _OK:
            text = (what() or b"error not set").decode(errors="replace")
            forget()
            raise RCLError(f"Failed to publish: {text}")

    return publish


def _is_as_declared(utilities: ctypes.CDLL) -> bool:
    """Whether ``_Serialized`` is what this machine's libraries have under that name: one that they fill in reads as it should.

    They get more room than it takes, and must leave that alone. What is returned by value and does not fit into registers goes
    where the caller says, so that a larger type is room there, too.
    """

    class GrowingAllocator(ctypes.Structure):
        _fields_ = [("known", _Allocator), ("tail", ctypes.c_ubyte * _TAIL)]

    class Growing(ctypes.Structure):
        _fields_ = [("known", _Serialized), ("tail", ctypes.c_ubyte * (2 * _TAIL))]  # its own, and that of its allocator

    default, begin, end = (
        getattr(utilities, f"rcutils_{name}") for name in ("get_default_allocator", "uint8_array_init", "uint8_array_fini")
    )
    default.restype, default.argtypes = GrowingAllocator, ()
    begin.restype, begin.argtypes = ctypes.c_int, (ctypes.POINTER(Growing), ctypes.c_size_t, ctypes.POINTER(GrowingAllocator))
    end.restype, end.argtypes = ctypes.c_int, (ctypes.POINTER(Growing),)
    allocator, probe = default(), Growing()
    ctypes.memset(probe.tail, _UNTOUCHED, len(probe.tail))
    if begin(ctypes.byref(probe), _PROBED, ctypes.byref(allocator)) != _OK:
        return False
    filled, tail = probe.known, bytes(probe.tail)
    fits = bool(filled.buffer) and (filled.length, filled.capacity, bytes(filled.allocator)) == (0, _PROBED, bytes(allocator.known))
    return end(ctypes.byref(probe)) == _OK and fits and {*tail, *bytes(probe.tail)} == {_UNTOUCHED}
