"""Catalogues, models of real size, the split for validation, the cache, and who made them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from depth_retrofit_ros.errors import DatasetError, OutputError
from depth_retrofit_ros.training.scenes.held_out import held_out
from depth_retrofit_ros.training.scenes.meshes.assets import open_assets
from depth_retrofit_ros.training.scenes.meshes.attribution import attribution
from depth_retrofit_ros.training.scenes.meshes.catalogue import MODELS, read_catalogues
from depth_retrofit_ros.training.scenes.meshes.library import TEXTURES, ModelLibrary, TextureLibrary
from depth_retrofit_ros.training.scenes.meshes.recent import Recent
from depth_retrofit_ros.training.scenes.world import WorldSpec
from test.training.scenes.mesh_assets import MTL, box_obj, leaf, png, write_assets, write_catalogue

ENTRY = {"name": "Thing", "category": "Office", "model": "/a/a.obj", "width": "100", "depth": "50", "height": "200"}


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_assets(tmp_path_factory.mktemp("assets"))


def library(folder: Path, entry: dict[str, str], obj: str) -> ModelLibrary:
    write_catalogue(folder / MODELS / "one.sh3f", [entry], {"a/a.obj": obj, "a/m.mtl": MTL}, "Public domain")
    return ModelLibrary(folder, folder / "cache", validation=held_out("a"))


def test_a_model_has_its_size_stands_on_the_floor_and_faces_the_viewer(tmp_path: Path) -> None:
    front = box_obj().replace("v -0.5 0.5 0.5", "v -0.5 0.6 0.5")  # its upper left front corner is the highest
    found = library(tmp_path, ENTRY, front)
    points = found.mesh(found.models[0]).points.reshape(-1, 3)
    np.testing.assert_allclose(points.max(0) - points.min(0), (1.0, 2.0, 0.5), atol=1e-6)
    np.testing.assert_allclose(points.max(0), (0.5, 0, 0.25), atol=1e-6)  # y down: the foot is at 0
    top = points[points[:, 1].argmin()]
    np.testing.assert_allclose(top, (-0.5, -2.0, -0.25), atol=1e-6)


def test_a_model_is_turned_before_it_is_scaled(tmp_path: Path) -> None:
    lying = {**ENTRY, "modelRotation": "1 0 0 0 0 1 0 -1 0"}  # the file's z is up
    found = library(tmp_path, lying, box_obj().replace("v -0.5 0.5 0.5", "v -0.5 0.5 0.6"))
    points = found.mesh(found.models[0]).points.reshape(-1, 3)
    np.testing.assert_allclose(points.max(0) - points.min(0), (1.0, 2.0, 0.5), atol=1e-6)
    np.testing.assert_allclose(points[points[:, 1].argmin()], (-0.5, -2.0, 0.25), atol=1e-6)


def test_a_model_comes_from_the_cache_as_it_was_parsed(assets: Path, tmp_path: Path) -> None:
    first = ModelLibrary(assets, tmp_path, validation=False)
    model = first.matching("Ficus")[0]
    parsed = first.mesh(model)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    again = ModelLibrary(assets, tmp_path, validation=False).mesh(model)
    np.testing.assert_array_equal(again.points, parsed.points)
    np.testing.assert_array_equal(again.normals, parsed.normals)
    np.testing.assert_array_equal(again.textures[0], parsed.textures[0])
    assert again.surfaces == parsed.surfaces


def test_another_file_or_size_of_the_same_name_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    width = {}
    for change, entry, obj, mtl in (
        ("none", ENTRY, box_obj(), MTL),
        ("file", ENTRY, box_obj().replace("v -0.5 0.5 0.5", "v -0.5 0.6 0.5"), MTL),
        ("material", ENTRY, box_obj(), MTL.replace("0.6", "0.7")),
        ("size", {**ENTRY, "width": "70"}, box_obj(), MTL),
    ):
        write_catalogue(tmp_path / MODELS / "one.sh3f", [entry], {"a/a.obj": obj, "a/m.mtl": mtl}, "Public domain")
        found = ModelLibrary(tmp_path, tmp_path / "cache", validation=held_out("a"))
        width[change] = np.ptp(found.mesh(found.models[0]).points[..., 0])
        assert len(list((tmp_path / "cache").iterdir())) == len(width), change
    assert width["size"] == pytest.approx(0.7) and width["none"] == pytest.approx(1.0)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, keep: float) -> None:
    sound = library(tmp_path, ENTRY, box_obj())
    mesh = sound.mesh(sound.models[0])
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    points = mesh.points.tobytes()
    assert points in whole
    for damaged in (whole[: int(len(whole) * keep)], b"no archive", whole.replace(points, points[::-1])):
        path.write_bytes(damaged)
        again = library(tmp_path, ENTRY, box_obj())
        np.testing.assert_array_equal(again.mesh(again.models[0]).points, mesh.points)
        np.testing.assert_array_equal(np.load(path)["points"], mesh.points)


def test_a_cache_that_is_emptied_while_it_is_used_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: real(self, target).unlink())
    found = library(tmp_path, ENTRY, box_obj())
    assert found.mesh(found.models[0]).points.size and not list((tmp_path / "cache").iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: IO[bytes], **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    found = library(tmp_path, ENTRY, box_obj())
    with pytest.raises(OutputError, match=r"cannot write .*No space left on device.*make room"):
        found.mesh(found.models[0])
    assert not list((tmp_path / "cache").iterdir())


def test_what_was_used_last_is_kept_within_the_memory() -> None:
    made: list[str] = []

    def make(key: str) -> bytes:
        made.append(key)
        return bytes(30 if key != "large" else 300)

    recent = Recent[bytes](100, len)
    for key in ("a", "b", "c", "a", "d", "a", "b"):
        assert len(recent.get(key, lambda key=key: make(key))) == 30  # type: ignore[misc]  # bound now
    assert made == ["a", "b", "c", "d", "b"] and len(recent) == 3
    assert len(recent.get("large", lambda: make("large"))) == 300 and len(recent) == 1


def test_textures_are_decoded_within_the_memory(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.training.scenes.meshes.library.TEXTURE_MEMORY", 1)
    part = max((TextureLibrary(assets, validation) for validation in (False, True)), key=lambda part: len(part.names))
    for name in part.names:
        assert part.image(name).shape == (32, 32, 4)
    assert len(part.names) > 1 and len(part._decoded) == 1


def test_training_and_validation_share_no_model_and_no_texture(assets: Path, tmp_path: Path) -> None:
    both = [{m.key for m in ModelLibrary(assets, tmp_path, part).models} for part in (False, True)]
    assert both[0] and both[1] and not both[0] & both[1]
    assert len(both[0] | both[1]) == len(read_catalogues(assets / MODELS))
    assert 0.04 < len(both[1]) / len(both[0] | both[1]) < 0.25
    names = [set(TextureLibrary(assets, part).names) for part in (False, True)]
    assert len(names[0] | names[1]) == 4 and not names[0] & names[1]


def test_models_that_share_a_file_are_on_the_same_side(tmp_path: Path) -> None:
    stems = [f"m{i}" for i in range(40)]
    files: dict[str, str | bytes] = {f"{s}/{s}.obj": f"# {s}\n" + box_obj() for s in stems}
    files |= {f"{s}/leaf.png": png(leaf(8 if int(s[1:]) < 30 else 16)) for s in stems}
    write_catalogue(tmp_path / "x.sh3f", [{**ENTRY, "model": f"/{s}/{s}.obj"} for s in stems], files, "Public domain")
    families = [m.family for m in read_catalogues(tmp_path)]
    assert set(families[:30]) == {"m0"} and set(families[30:]) == {"m30"}


def test_models_are_found_by_name_category_and_size(assets: Path, tmp_path: Path) -> None:
    found = ModelLibrary(assets, tmp_path, validation=False)
    assert {m.name for m in found.matching("(Sofa|Chair)")} == {"Sofa", "Chair"}
    assert not found.matching("Sof") and not found.matching("Sofa", "Office")
    assert {m.name for m in found.matching(".*", low=(1.85,), high=(9, 9, 2))} == {"Sofa"}


def test_what_is_missing_or_broken_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.sh3f catalogue"):
        read_catalogues(tmp_path)
    (tmp_path / "x.sh3f").write_bytes(b"no zip")
    with pytest.raises(DatasetError, match="no furniture catalogue"):
        read_catalogues(tmp_path)
    with pytest.raises(DatasetError, match="ufoai-textures"):
        TextureLibrary(tmp_path, False)
    (tmp_path / TEXTURES).parent.mkdir(parents=True)
    (tmp_path / TEXTURES).write_bytes(b"no zip")
    with pytest.raises(DatasetError, match="cannot be read"):
        TextureLibrary(tmp_path, False)


@pytest.mark.parametrize(
    ("field", "value"), [("model", None), ("name", None), ("width", None), ("height", "tall"), ("modelRotation", "1 0 0")]
)
def test_a_damaged_entry_is_told_in_one_line(tmp_path: Path, field: str, value: str | None) -> None:
    entry = {name: text for name, text in {**ENTRY, field: value}.items() if text is not None}
    write_catalogue(tmp_path / "x.sh3f", [entry], {"a/a.obj": box_obj()}, "Public domain")
    with pytest.raises(DatasetError, match=r"x\.sh3f is damaged \(model 1: .*\): unpack the package again") as error:
        read_catalogues(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    found = library(tmp_path, ENTRY, box_obj())
    (tmp_path / MODELS / "one.sh3f").unlink()
    with pytest.raises(DatasetError, match=r"one/a/a\.obj cannot be read from .*one\.sh3f"):
        found.mesh(found.models[0])


@pytest.mark.parametrize(
    ("machine", "told"), [("x86_64", "pip install"), ("aarch64", "not packaged for Linux on aarch64: render the pool on x86_64")]
)
def test_without_embreex_the_remedy_is_one_for_this_machine(
    assets: Path, machine: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("depth_retrofit_ros.training.scenes.meshes.assets.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=told):
        open_assets(WorldSpec("rooms", 0, assets=assets))


def test_the_makers_are_named_with_their_licences_and_copyright(tmp_path: Path) -> None:
    catalogues = {
        "Creative Commons Attribution 3.0 license": "AAB",
        "Creative Commons Attribution 3.0 Unported license  © D and E": "D",
        "Creative Commons Attribution 3.0 United States license  Copyright © 2003-2008 F & G": "F",
        "Public domain": "C",
    }
    for number, (licence, makers) in enumerate(catalogues.items()):
        entries = [{**ENTRY, "model": f"/{i}/a.obj", "creator": maker} for i, maker in enumerate(makers)]
        files = {f"{i}/a.obj": box_obj() for i in range(len(makers))}
        write_catalogue(tmp_path / MODELS / f"{number}.sh3f", entries, files, licence)
    by = "https://creativecommons.org/licenses/by/3.0"
    assert attribution(tmp_path).splitlines() == [
        f"3 models of Sweet Home 3D by A, B, under CC BY 3.0 ({by})",
        f"1 models of Sweet Home 3D by D, under CC BY 3.0 ({by}), © D and E",
        f"1 models of Sweet Home 3D by F, under CC BY 3.0 US ({by}/us), Copyright © 2003-2008 F & G",
        "1 models of Sweet Home 3D by C, under CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0)",
    ]


@pytest.mark.parametrize("licence", ["", "GPL", "Public domain, mostly", "Creative Commons Attribution 4.0 license  © X"])
def test_a_catalogue_of_an_unknown_licence_is_refused(tmp_path: Path, licence: str) -> None:
    write_catalogue(tmp_path / "x.sh3f", [ENTRY], {"a/a.obj": box_obj()}, licence)
    with pytest.raises(DatasetError, match=r"x\.sh3f is under an unknown licence"):
        read_catalogues(tmp_path)
