"""What the cameras of one process have in common: one loaded method, and one thread in which it works for one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from depth_retrofit_ros.coarse.batch import MOST, takes_batches
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.node.camera_list import SHARED
from depth_retrofit_ros.ros.node.in_flight import begin_together
from depth_retrofit_ros.runtime.self_check import self_check
from depth_retrofit_ros.runtime.worker_thread import WorkerThread

if TYPE_CHECKING:
    from depth_retrofit_ros.ros.node.parameters import Settings


class Member(Protocol):
    """A camera's processor, as the others see it: whoever waits for the thread may wait for what any of them does there."""

    @property
    def usual_s(self) -> float:
        """What an image usually takes [s]."""
        ...

    @property
    def is_warming(self) -> bool:
        """Whether it warms up for a size."""
        ...

    @property
    def is_building(self) -> bool:
        """Whether it makes something that takes minutes."""
        ...


class Common:
    """The thread, and the processors that it works for at present. For the executor's thread."""

    def __init__(self, retrofit: Retrofit) -> None:
        batches = takes_batches(retrofit.coarse)
        self.thread = WorkerThread(begin_together if batches else None, MOST if batches else 1)
        self._members: tuple[Member, ...] = ()

    def enter(self, member: Member) -> None:
        """From now on it has images."""
        self._members = (*self._members, member)

    def leave(self, member: Member) -> None:
        """From now on it has none. May be called again."""
        self._members = tuple(other for other in self._members if other is not member)

    @property
    def count(self) -> int:
        """Processors that work at present."""
        return len(self._members)

    @property
    def usual_s(self) -> float:
        """What an image of each usually takes together [s]: the last one waits for all others."""
        return sum(member.usual_s for member in self._members)

    @property
    def is_warming(self) -> bool:
        """Whether any warms up for a size."""
        return any(member.is_warming for member in self._members)

    @property
    def is_building(self) -> bool:
        """Whether any makes something that takes minutes."""
        return any(member.is_building for member in self._members)


class _Loaded:
    """One loaded method, and who uses it: name → its own form of it."""

    def __init__(self, retrofit: Retrofit, first: str, settings: Settings) -> None:
        self.retrofit, self.common = retrofit, Common(retrofit)
        self.first, self.settings = first, settings
        self.users: set[str] = set()
        self._usual_s: float | None = None

    def usual_s(self) -> float:
        """By ``self_check``, once: the method may be in use by then."""
        if self._usual_s is None:
            self._usual_s = self_check(self.retrofit)
        return self._usual_s


class SharedMethod:
    """Loads the method for the first camera that asks, and gives each further one the same networks: see
    ``Retrofit.for_another_camera``. What nobody uses any more is released.

    load: makes the method from the parameters. One camera asks at a time, in whichever thread; what never ends must be given up.
    """

    def __init__(self, load: Callable[[Settings], Retrofit]) -> None:
        self._load = load
        self._loaded: _Loaded | None = None
        self._given_up = 0  # how often

    @property
    def common(self) -> Common | None:
        """Of those that use the loaded method; None where there is none."""
        return None if self._loaded is None else self._loaded.common

    def take(self, name: str, settings: Settings) -> Retrofit:
        """The method for the camera of this name. Raises what loading raises, and ModelError for another method than the one that
        is loaded for others."""
        loaded = self._loaded
        if loaded is None or not loaded.users:
            given_up = self._given_up
            loaded = _Loaded(self._load(settings), name, settings)
            loaded.users.add(name)
            if given_up == self._given_up:  # else nobody waits for it any more
                self._loaded = loaded
            return loaded.retrofit
        for parameter in SHARED:
            if (asked := getattr(settings, parameter)) != (there := getattr(loaded.settings, parameter)):
                raise ModelError(
                    f"{parameter} is {asked!r} here and {there!r} for {loaded.first}: cameras of one process share one model; "
                    "give all the same, or each a process of its own"
                )
        method = loaded.retrofit.for_another_camera(settings.budget, settings.trust_scale)
        loaded.users.add(name)
        return method

    def usual_s(self) -> float:
        """Check the answer of the loaded method, once, and return what an image takes [s]. Raises ModelError."""
        assert self._loaded is not None
        return self._loaded.usual_s()

    def leave(self, name: str) -> None:
        """The camera uses it no more. May be called again."""
        if self._loaded is not None:
            self._loaded.users.discard(name)
            if not self._loaded.users:
                self._loaded = None

    def give_up(self) -> None:
        """A thread that never ends has it: whoever asks from now on has another. Those that use it keep it."""
        self._loaded, self._given_up = None, self._given_up + 1
