"""A batch from its inputs to its summary: what is done stays done, and every input is accounted for."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from depth_retrofit_ros.batch.engine import Engine
from depth_retrofit_ros.batch.inputs import Item
from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.batch.schedule import Asked, run_tasks
from depth_retrofit_ros.batch.settings import BatchSettings
from depth_retrofit_ros.batch.table import conclude
from depth_retrofit_ros.batch.tasks import Row, Task, unpacked
from depth_retrofit_ros.batch.uris import without_user
from depth_retrofit_ros.errors import DepthRetrofitError, OutputError, UsageError

RUN = "run.json"
_OF_IMAGE = ("depth.png", "relative.png", "depth.npz", "relative.npz", "confidence.png", "normals.npz")
_OF_ITEM = re.compile(
    r"items/(.+)\.(?:parts|failed|\d{5,})\.json|depth/([^/]+)/.+"
    rf"|depth/(.+)_(?:{'|'.join(map(re.escape, _OF_IMAGE))})(?:\..*half)?"
)


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


@dataclass(slots=True)
class _Bag:
    """One at work. open: keys of parts that are to be done; answered: whether any image is; broken: whether a part failed; last:
    why the last image has no answer."""

    open: set[str]
    answered: bool = False
    broken: bool = False
    last: str = ""

    def take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.last = row.get("reason", self.last)
            self.answered |= "reason" not in row


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
        self._items, self._place, self._show = items, place, show
        self._say = lambda line: say(without_user(line))
        self._settings, self._described = settings, settings.described()
        self._bags: dict[str, _Bag] = {}
        self._at_work: dict[str, Asked] = {}
        self._old: dict[str, list[str]] = {}  # task → files of earlier results, which go when it begins
        self._unclean: set[str] = set()  # items, of which files may be left that no seal names
        self._failed_now: set[str] = set()  # items
        self._remarks = 0  # of the engine, that were told
        self._is_new = self._check(resume)
        names = {item.name for item in items}
        self._there: defaultdict[str, dict[str, int]] = defaultdict(dict)  # item → its files in the place, and their sizes
        for folder in ("items", "depth"):
            for name, size in place.sizes(folder).items():
                match = _OF_ITEM.fullmatch(name)
                if match is not None and match[match.lastindex or 0] in names:
                    self._there[match[match.lastindex or 0]][name] = size

    def run(self, engine: Engine, retries: int) -> None:
        """To the end; whatever ends it early, what was done by then is told in table, manifest and report. engine: is opened and
        closed here; a run that none could begin with is as if it had not been."""
        has_begun = False
        try:
            with engine:
                has_begun = True
                run_tasks(engine, self._asked(), retries, self._done, self._failed, lambda: self._tell(engine), self._begin)
        except BaseException:
            with suppress(DepthRetrofitError):  # the disk is full: what is wrong is told already
                if has_begun:
                    self._take_sealed()
                    self._conclude(engine)
                elif self._is_new:
                    self._place.remove(RUN)
            raise
        self._conclude(engine)

    def _check(self, resume: bool) -> bool:
        """Whether this is a new run."""
        found = self._place.read(RUN)
        if found is not None and not resume:
            raise UsageError(f"{self._place.uri} holds an earlier run: give --resume to go on with it, or another --out")
        if found is None:
            if self._place.sizes("depth") or self._place.sizes("items"):
                raise OutputError(f"{self._place.uri} has items or depth of something else in it: choose another --out")
            self._place.publish_text(json.dumps(self._described, indent=2) + "\n", RUN)
            return True
        try:
            before = json.loads(found)
        except ValueError:
            raise OutputError(f"{RUN} in {self._place.uri} cannot be read: choose another --out") from None
        if before != self._described:
            changed = sorted(_differing(before, self._described))
            raise UsageError(f"{self._place.uri} holds a run with another {', '.join(changed)}: give the same, or another --out")
        return False

    def _asked(self) -> Iterator[Asked]:
        for item in self._items:
            try:
                tasks = self._open_tasks(item)
            except _UnknownError as error:
                self._tell_failed(item, str(error))
                self.counts.failed += 1
                continue
            if not tasks:
                self.counts.skipped += 1
            yield from (Asked(task.seal, task) for task in tasks)

    def _open_tasks(self, item: Item) -> list[Task]:
        """What is still to be done of an item; results of one that has changed since go when it begins. Raises _UnknownError where
        that cannot be told, for which nothing goes."""
        first, there = _first(item), self._there.pop(item.name, {})
        seal = self._read(first.seal) if first.seal in there else None
        if seal is None:
            self._replace(first, there)
            return [first]
        try:
            known = self._settings.identity(item)
        except DepthRetrofitError as error:
            raise _UnknownError(str(error)) from None
        if seal.get("identity") != known:
            self._say(f"{item.uri} has changed since an earlier run: it is done again")
            self._replace(first, there)
            return [first]
        tasks = [first] if first.what == "answer" else list(_parts(item, seal))
        bag = _Bag(set())
        for task in list(tasks):
            sealed = self._read(task.seal) if task.seal in there else None
            if sealed is not None and sealed.get("identity") == known and _is_whole(sealed, there):
                tasks.remove(task)
                bag.take(sealed["rows"])
            else:
                self._replace(task, [task.seal] if task.seal in there else [])
                self._unclean.add(item.name)
        failed = _failure(item)
        if failed in there and tasks:
            self._old[tasks[0].seal].append(failed)
        elif failed in there:
            self._place.remove(failed)
        if tasks and item.kind == "bag":
            bag.open = {task.seal for task in tasks}
            self._bags[item.name] = bag
        return tasks

    def _replace(self, task: Task, names: Iterable[str]) -> None:
        """These go when the task begins, the seal first."""
        self._old[task.seal] = sorted(names, key=lambda name: name != task.seal)

    def _begin(self, asked: Asked) -> bool:
        if asked.key in self._at_work:  # its worker ended, or the store broke off
            self._unclean.add(asked.task.item.name)
        self._at_work[asked.key] = asked
        for name in self._old.pop(asked.key, ()):
            self._place.remove(name)
        return True

    def _done(self, asked: Asked, told: Row) -> Iterable[Asked]:
        task: Task = asked.task
        if self._place.uri.local is not None and self._read(task.seal) is None:
            told_by = f"its worker wrote it where {self._place.uri} is another folder: give an --out that all machines share"
            return self._count_failed(asked, told_by)
        del self._at_work[asked.key]
        item = task.item
        self.counts.frames += len(told["rows"])
        for remark in told["remarks"]:
            self._say(f"{told['input']}: {remark}")
        if told["parts"] is not None:
            tasks = list(_parts(item, told))
            self._bags[item.name] = _Bag({task.seal for task in tasks})
            return [Asked(task.seal, task) for task in tasks]
        if item.name in self._bags:
            self._bags[item.name].take(told["rows"])
            self._part_ended(item, asked.key)
        else:
            self.counts.done += 1
            self._tidy(item)
        return ()

    def _failed(self, asked: Asked, reason: str) -> Iterable[Asked]:
        """What has a seal is done, whatever became of its worker then."""
        sealed = self._read(asked.task.seal)
        return self._count_failed(asked, reason) if sealed is None else self._done(asked, sealed)

    def _count_failed(self, asked: Asked, reason: str) -> tuple[()]:
        del self._at_work[asked.key]
        item = asked.task.item
        bag = self._bags.get(item.name)
        if bag is None or not bag.broken:  # of a bag the first part that fails tells
            self._tell_failed(item, reason)
        if bag is None:
            self.counts.failed += 1
            self._tidy(item)
        else:
            bag.broken = True
            self._part_ended(item, asked.key)
        return ()

    def _tell_failed(self, item: Item, reason: str) -> None:
        self._failed_now.add(item.name)
        self._say(f"error: {item.uri}: {reason}" if str(item.uri) not in reason else f"error: {reason}")
        told = {"input": str(item.uri), "kind": item.kind, "reason": without_user(reason)}
        self._place.publish_text(json.dumps(told) + "\n", _failure(item))

    def _part_ended(self, item: Item, key: str) -> None:
        bag = self._bags[item.name]
        bag.open.discard(key)
        if bag.open:
            return
        del self._bags[item.name]
        if not (bag.broken or bag.answered):
            self._place.remove(_first(item).seal)  # it is done again by --resume
            self._tell_failed(item, f"none of its images was answered: {bag.last}")
        if bag.broken or not bag.answered:
            self.counts.failed += 1
        else:
            self.counts.done += 1
        self._tidy(item)

    def _tidy(self, item: Item) -> None:
        """Remove what tries that came to nothing have left of an item that has come to an end."""
        if item.name not in self._unclean:
            return
        self._unclean.discard(item.name)
        sealed = {name for seal in self._seals_of(item) for name, *_ in seal["files"]}
        folder = f"depth/{item.name}"
        found = [f"{folder}_{ending}" for ending in _OF_IMAGE] if item.kind == "image" else list(self._place.sizes(folder))
        for name in found:
            if name not in sealed:
                self._place.remove(name)

    def _tell(self, engine: Engine) -> None:
        for remark in engine.remarks[self._remarks :]:
            self._say(remark)
        self._remarks = len(engine.remarks)
        self._show(self.counts)

    def _take_sealed(self) -> None:
        """What workers have come to an end with while the engine was closed."""
        for asked in list(self._at_work.values()):
            if (sealed := self._read(asked.task.seal)) is not None:
                self._done(asked, sealed)

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
            "settings": self._described,
        }
        self.report = conclude(self._place, self._seals(), facts)

    def _seals(self) -> Iterator[Row]:
        """Of all that is given, in order, whenever it was done; and why what failed now did."""
        for item in self._items:
            yield from self._seals_of(item)
            if item.name in self._failed_now and (failed := self._read(_failure(item))) is not None:
                yield failed

    def _seals_of(self, item: Item) -> Iterator[Row]:
        first = self._read(_first(item).seal)
        if first is None or first.get("parts") is None:
            yield from filter(None, [first])
            return
        for task in _parts(item, first):
            sealed = self._read(task.seal)
            if sealed is not None and sealed.get("identity") == first["identity"]:
                yield sealed

    def _read(self, name: str) -> Row | None:
        text = self._place.read(name)
        try:
            told: Any = None if text is None else json.loads(text)
        except ValueError:
            return None
        return told if isinstance(told, dict) else None


class _UnknownError(Exception):
    """Whether an input is what it was cannot be told."""


def _first(item: Item) -> Task:
    return Task("divide" if item.kind == "bag" else "answer", item)


def _failure(item: Item) -> str:
    """The file that says why an item failed."""
    return f"items/{item.name}.failed.json"


def _parts(item: Item, divided: Row) -> Iterator[Task]:
    for number, told in enumerate(divided["parts"]):
        yield Task("answer", item, number, unpacked(told), divided["identity"])


def _is_whole(seal: Row, there: dict[str, int]) -> bool:
    return all(there.get(name) == size for name, size, _ in seal["files"])


def _differing(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Names of settings that are not the same in both."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            yield from _differing(before.get(key), now.get(key), key)
    elif before != now:
        yield name
