"""A batch from its inputs to its summary: what is done stays done, and every input is accounted for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from depth_retrofit_ros.batch.engine import Engine
from depth_retrofit_ros.batch.inputs import Item, identity
from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.batch.schedule import Asked, run_tasks
from depth_retrofit_ros.batch.settings import BatchSettings
from depth_retrofit_ros.batch.table import conclude
from depth_retrofit_ros.batch.tasks import Row, Task, unpacked
from depth_retrofit_ros.errors import DepthRetrofitError, OutputError, UsageError

RUN = "run.json"
_OF_ITEM = re.compile(r"(?:items|depth)/(.*?-[0-9a-f]{10})[_./]")


@dataclass(slots=True)
class Counts:
    """given = done + failed + skipped + left, inputs; skipped: done by an earlier run; frames: of this run, answered or failed."""

    given: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    frames: int = 0
    begun_s: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> int:
        """Not come to an end."""
        return self.given - self.done - self.failed - self.skipped

    def line(self) -> str:
        """The equation."""
        left = f" + left {self.left}" if self.left else ""
        return f"given {self.given} = done {self.done} + failed {self.failed} + skipped {self.skipped}{left}"


class BatchRun:
    """items: what is given; place: is held by us, see ``Place.held``. say: takes each line that is told of an input; show:
    takes the counts now and then. Raises UsageError, OutputError, StorageError."""

    def __init__(
        self,
        items: Sequence[Item],
        place: Place,
        settings: BatchSettings,
        resume: bool,
        say: Callable[[str], None],
        show: Callable[[Counts], None],
    ) -> None:
        self.counts = Counts(len(items))
        self.report: Row = {}
        self._items, self._place, self._say, self._show = items, place, say, show
        self._by_name = {item.name: item for item in items}
        self._settings = settings.described()
        self._parts: dict[str, set[str]] = {}  # bags at work: keys of parts that are to be done
        self._broken: set[str] = set()  # of these, those of which a part failed
        self._check(resume)
        self._there: dict[str, dict[str, int]] = {}  # item → its files in the place, and their sizes
        for folder in ("items", "depth"):
            for name, size in place.sizes(folder).items():
                if (match := _OF_ITEM.match(name)) is not None:
                    self._there.setdefault(match[1], {})[name] = size

    def run(self, engine: Engine, retries: int) -> None:
        """To the end; whatever ends it early, what was done by then is told in table, manifest and report."""
        try:
            run_tasks(engine, self._asked(), retries, self._done, self._failed, lambda: self._show(self.counts))
        except BaseException:
            with suppress(DepthRetrofitError):  # the disk is full: what is wrong is told already
                self._conclude(engine)
            raise
        self._conclude(engine)

    def _check(self, resume: bool) -> None:
        found = self._place.read(RUN)
        if found is not None and not resume:
            raise UsageError(f"{self._place.uri} holds an earlier run: give --resume to go on with it, or another --out")
        if found is None:
            if self._place.sizes("depth") or self._place.sizes("items"):
                raise OutputError(f"{self._place.uri} has items or depth of something else in it: choose another --out")
            self._place.publish_text(json.dumps(self._settings, indent=2) + "\n", RUN)
            return
        try:
            before = json.loads(found)
        except ValueError:
            raise OutputError(f"{RUN} in {self._place.uri} cannot be read: choose another --out") from None
        if before != self._settings:
            changed = sorted(_differing(before, self._settings))
            raise UsageError(f"{self._place.uri} holds a run with another {', '.join(changed)}: give the same, or another --out")

    def _asked(self) -> Iterator[Asked]:
        for item in self._items:
            tasks = list(self._open_tasks(item))
            if not tasks:
                self.counts.skipped += 1
                continue
            if tasks[0].part is not None:
                self._parts[item.name] = {task.seal for task in tasks}
            yield from (Asked(task.seal, task) for task in tasks)

    def _open_tasks(self, item: Item) -> Iterator[Task]:
        """What is still to be done of an item; results of an input that has changed since are removed."""
        first = Task("divide" if item.kind == "bag" else "answer", item)
        there = self._there.pop(item.name, {})
        failed = f"items/{item.name}.failed.json"
        if there.pop(failed, None) is not None:
            self._place.remove(failed)
        if not there:
            yield first
            return
        seal = self._read(first.seal) if first.seal in there else None
        try:
            same = seal is not None and seal.get("identity") == identity(item)
        except DepthRetrofitError:
            same = False
        if seal is not None and not same:
            self._say(f"{item.uri} has changed since an earlier run: it is done again")
        if seal is None or not same:
            for name in there:
                self._place.remove(name)
            yield first
        elif first.what == "answer":
            if not _is_whole(seal, there):
                yield first
        else:
            for task in _parts(item, seal):
                sealed = self._read(task.seal) if task.seal in there else None
                if sealed is None or sealed.get("identity") != seal["identity"] or not _is_whole(sealed, there):
                    yield task

    def _done(self, key: str, told: Row) -> Iterable[Asked]:
        name = _name(key)
        self.counts.frames += len(told["rows"])
        for remark in told["remarks"]:
            self._say(f"{told['input']}: {remark}")
        if told["parts"] is not None:
            tasks = list(_parts(self._by_name[name], told))
            self._parts[name] = {task.seal for task in tasks}
            return [Asked(task.seal, task) for task in tasks]
        if name not in self._parts:
            self.counts.done += 1
        else:
            self._part_ended(name, key)
        return ()

    def _failed(self, key: str, reason: str) -> None:
        name = _name(key)
        item = self._by_name[name]
        if name not in self._broken:  # of a bag the first part that fails tells
            self._say(f"error: {item.uri}: {reason}" if str(item.uri) not in reason else f"error: {reason}")
            told = {"input": str(item.uri), "kind": item.kind, "reason": reason}
            self._place.publish_text(json.dumps(told) + "\n", f"items/{name}.failed.json")
        if name not in self._parts:
            self.counts.failed += 1
        else:
            self._broken.add(name)
            self._part_ended(name, key)

    def _part_ended(self, name: str, key: str) -> None:
        self._parts[name].discard(key)
        if self._parts[name]:
            return
        del self._parts[name]
        if name in self._broken:
            self._broken.discard(name)
            self.counts.failed += 1
        else:
            self.counts.done += 1

    def _conclude(self, engine: Engine) -> None:
        counts = self.counts
        seconds = time.monotonic() - counts.begun_s
        facts = {
            "given": counts.given,
            "done": counts.done,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "left": counts.left,
            "engine": engine.described,
            "seconds": round(seconds, 1),
            "frames_per_second": round(counts.frames / seconds, 3) if seconds > 0 else None,
            "settings": self._settings,
        }
        self.report = conclude(self._place, self._seals(), facts)

    def _seals(self) -> Iterator[Row]:
        """Of all that is given, in order, whenever it was done."""
        there = set(self._place.sizes("items"))
        for item in self._items:
            first = Task("divide" if item.kind == "bag" else "answer", item)
            names = [first.seal]
            if item.kind == "bag" and first.seal in there and (divided := self._read(first.seal)) is not None:
                names = [task.seal for task in _parts(item, divided)]
            for name in (*names, f"items/{item.name}.failed.json"):
                if name in there and (seal := self._read(name)) is not None and seal.get("parts") is None:
                    yield seal

    def _read(self, name: str) -> Row | None:
        text = self._place.read(name)
        try:
            told: Any = None if text is None else json.loads(text)
        except ValueError:
            return None
        return told if isinstance(told, dict) else None


def _parts(item: Item, divided: Row) -> Iterator[Task]:
    for number, told in enumerate(divided["parts"]):
        yield Task("answer", item, number, unpacked(told))


def _is_whole(seal: Row, there: dict[str, int]) -> bool:
    return all(there.get(name) == size for name, size, _ in seal["files"])


def _name(key: str) -> str:
    match = _OF_ITEM.match(key)
    assert match is not None
    return match[1]


def _differing(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Names of settings that are not the same in both."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            yield from _differing(before.get(key), now.get(key), key)
    elif before != now:
        yield name
