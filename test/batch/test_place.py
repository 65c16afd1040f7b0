"""What cannot be written: a file, which costs its input, or any, which ends the run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.batch.uris import Uri
from depth_retrofit_ros.errors import NoRoomError, OutputError, StorageError
from depth_retrofit_ros.io.depth_files import writing
from test.batch.test_run import engines, inputs, report, run

__all__ = ["engines", "inputs"]  # fixtures


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.EACCES, errno.EISDIR]
)
def test_a_disk_is_told_from_a_file(number: int) -> None:
    with pytest.raises(OutputError, match=f"cannot write x .{os.strerror(number)}.: choose") as caught, writing(Path("x")):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value, NoRoomError) == (number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))


def test_a_long_name_of_many_bytes_is_an_input_as_any_other(inputs: Path, tmp_path: Path, engines: list[Any]) -> None:
    photo = tmp_path / f"{'深' * 80}.png"
    photo.write_bytes((inputs / "photo0.png").read_bytes())
    assert run(photo, tmp_path / "out", "--confidence") == 0
    assert all(file.name.startswith("深") for file in (tmp_path / "out" / "depth").iterdir())


def test_a_file_that_cannot_be_written_costs_its_input(
    inputs: Path, tmp_path: Path, engines: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = Place.publish

    def refused(self: Place, file: Path, name: str) -> Any:
        with writing(self.staging / name):
            if name.startswith("depth/photo0"):
                raise OSError(errno.ENAMETOOLONG, "File name too long")
        return publish(self, file, name)

    monkeypatch.setattr(Place, "publish", refused)
    assert run(Path(str(inputs / "photo*.png")), tmp_path / "out") == 1
    told = capsys.readouterr()
    assert "given 2 = done 1 + failed 1 + skipped 0" in told.out and "File name too long" in told.err
    assert (report(tmp_path / "out")["done"], report(tmp_path / "out")["left"]) == (1, 0)


def test_a_folder_of_results_that_may_not_be_listed_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = os.walk

    def denied(top: Path, onerror: Any = None) -> Any:
        if onerror is not None:
            onerror(PermissionError(errno.EACCES, "Permission denied", str(top)))
        return walk(top, onerror=onerror)

    with Place(Uri("file", str(tmp_path))) as place:
        assert place.sizes("items") == {}
        monkeypatch.setattr(os, "walk", denied)
        with pytest.raises(StorageError, match=r"cannot list .*/items \(Permission denied\): check its permissions"):
            place.sizes("items")
