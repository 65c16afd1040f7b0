"""Checkpoints are found, read without running code, and loaded strictly."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io import checkpoints as checkpoint
from depth_retrofit_ros.io.checkpoints import bundled, find_weights, load_configured, load_strict, load_tensors, save_tensors
from test.waiting import run_python, same_imports


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"a.weight": torch.randn(3, 4, generator=generator), "a.bias": torch.randn(3, generator=generator).half()}


def _expect(path: Path, match: str, sha256: str | None = None) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        load_tensors(path, sha256)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message


def test_safetensors_round_trip_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.bin"  # the suffix does not matter
    save_tensors(path, _tensors(), {"steps": "10"})
    tensors, metadata = load_tensors(path)
    assert metadata == {"steps": "10"}
    torch.testing.assert_close(tensors, _tensors(), rtol=0, atol=0)
    assert os.listdir(path.parent) == ["weights.bin"]


def test_views_of_one_storage_are_saved_as_their_own_values(tmp_path: Path) -> None:
    base = torch.arange(6.0).view(2, 3)
    save_tensors(tmp_path / "w", {"base": base, "row": base[1], "turned": base.t()}, {})
    tensors, _ = load_tensors(tmp_path / "w")
    torch.testing.assert_close(tensors, {"base": base, "row": base[1], "turned": base.t()}, rtol=0, atol=0)


def test_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_tensors(path, _tensors(), {"version": "old"})

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WeightsError, match="No space left"):
        save_tensors(path, _tensors(), {"version": "new"})
    assert load_tensors(path)[1] == {"version": "old"}
    assert os.listdir(tmp_path) == ["w.safetensors"]


@pytest.mark.parametrize("zip_format", [True, False])
def test_torch_formats(tmp_path: Path, zip_format: bool) -> None:
    path = tmp_path / "best"
    torch.save(_tensors(), path, _use_new_zipfile_serialization=zip_format)
    tensors, metadata = load_tensors(path)
    assert metadata == {}
    torch.testing.assert_close(tensors, _tensors(), rtol=0, atol=0)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrapped", [True, False])
def test_code_in_a_pickle_never_runs(tmp_path: Path, wrapped: bool) -> None:
    path, evidence = tmp_path / "evil.pt", tmp_path / "evidence"
    if wrapped:
        torch.save({"a": _Bomb(evidence)}, path)
    else:
        path.write_bytes(pickle.dumps(_Bomb(evidence)))
    _expect(path, "corrupt or not a checkpoint")
    assert not evidence.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>404</html>", bytes(range(256)) * 8])
def test_not_a_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    _expect(path, "corrupt or not a checkpoint")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("keep", [4, 12, 200, -20])
def test_truncated(tmp_path: Path, kind: str, keep: int) -> None:
    path = tmp_path / "w"
    if kind == "safetensors":
        save_tensors(path, _tensors(), {})
    else:
        torch.save(_tensors(), path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[:keep])
    _expect(path, "corrupt or not a checkpoint")


def test_flipped_bit_in_a_torch_archive(tmp_path: Path) -> None:
    path, marker = tmp_path / "w", torch.full((64,), 3.0)
    torch.save({"a": marker}, path)
    data = bytearray(path.read_bytes())
    data[data.index(marker.numpy().tobytes()) + 3] ^= 0x10
    path.write_bytes(data)
    _expect(path, "checksum")


def test_safetensors_with_a_broken_header(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_tensors(path, _tensors(), {})
    data = bytearray(path.read_bytes())
    data[9] = 0xFF
    path.write_bytes(data)
    _expect(path, "corrupt or not a checkpoint")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"model": {"a": torch.zeros(1)}}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_not_a_state_dict(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pt"
    torch.save(content, path)
    _expect(path, "not a state dict")


@pytest.mark.parametrize(
    "tensor", [torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta"), torch.ones(2, dtype=torch.complex64)]
)
def test_tensors_that_are_no_plain_arrays(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": tensor}, path)
    _expect(path, "no plain real array")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    _expect(tmp_path / "absent", "No such file")
    _expect(tmp_path, "directory")


def test_digest(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    _expect(path, "corrupt", known.upper())
    _expect(path, "SHA-256 differs", "0" * 64)


def test_bundled_names_what_is_missing() -> None:
    with pytest.raises(WeightsError, match=r"nothing\.safetensors is missing .*reinstall"):
        bundled("nothing.safetensors")


def test_find_explicit_file_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x")
    assert find_weights(["wanted"], tmp_path / "mine", "") == tmp_path / "mine"


def test_find_in_folder_then_subfolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"x")
    assert find_weights(["a", "b"], tmp_path, "") == tmp_path / "sub" / "b"
    (tmp_path / "b").write_bytes(b"x")
    assert find_weights(["a", "b"], tmp_path, "") == tmp_path / "b"
    monkeypatch.setenv(checkpoint.SEARCH_PATH_VARIABLE, os.pathsep.join(["", str(tmp_path / "absent"), str(tmp_path)]))
    assert find_weights(["sub/b"], None, "") == tmp_path / "sub" / "b"


def test_find_says_what_was_looked_for_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(checkpoint.SEARCH_PATH_VARIABLE, raising=False)
    with pytest.raises(WeightsError, match=r"a or b not found in DEPTH_RETROFIT_WEIGHTS \(not set\): buy it"):
        find_weights(["a", "b"], None, "buy it")
    with pytest.raises(WeightsError, match=r"no weights at .*absent: .*buy it"):
        find_weights(["a"], tmp_path / "absent", "buy it")
    with pytest.raises(WeightsError, match=r"a not found in .*: buy it"):
        find_weights(["a"], tmp_path, "buy it")


def test_load_strict() -> None:
    module = nn.Linear(4, 3)
    tensors = {"weight": torch.ones(3, 4), "bias": torch.zeros(3)}
    load_strict(module, tensors, Path("w"))
    assert module.weight.sum() == 12


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bias": None}, "lacks bias"),
        ({"extra": torch.zeros(1)}, "has unknown extra"),
        ({"weight": torch.zeros(4, 3)}, r"weight is \[4, 3\], not \[3, 4\]"),
        ({f"extra{i}": torch.zeros(1) for i in range(5)}, "and 2 more"),
        ({"bias": torch.tensor([0.0, float("nan"), 0.0])}, "not finite"),
    ],
)
def test_load_strict_refuses(change: dict[str, torch.Tensor | None], match: str) -> None:
    module = nn.Linear(4, 3)
    before = module.weight.clone()
    merged = {"weight": torch.ones(3, 4), "bias": torch.zeros(3), **change}
    with pytest.raises(WeightsError, match=match) as caught:
        load_strict(module, {k: v for k, v in merged.items() if v is not None}, Path("file.pt"))
    assert "file.pt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert torch.equal(module.weight, before)


def test_device_names() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:99"):
        with pytest.raises(ModelError, match="device"):
            pick_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(ModelError, match="no CUDA device"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["compact", "refiner"])
def test_a_card_is_that_of_the_checkpoint_beside_it(name: str) -> None:
    """It tells the number of its steps and of its weights: a checkpoint that is exchanged without its card shows here."""
    path = bundled(f"{name}.safetensors")
    tensors, metadata = load_tensors(path)
    card = path.with_suffix(".md").read_text()
    assert f"{int(metadata['steps']):,} steps" in card
    assert f"{sum(t.numel() for t in tensors.values() if t.is_floating_point()):,} parameters" in card


def test_a_file_with_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"settings": {"width": 3, "names": ["a", None]}, "net": {"w": torch.arange(3.0)}}, path)
    tensors, config = load_configured(path, "net", "settings")
    assert config == {"width": 3, "names": ["a", None]}
    torch.testing.assert_close(tensors["w"], torch.arange(3.0))
    for wrong in (("model", "settings"), ("net", "config"), ("settings", "net")):
        with pytest.raises(WeightsError, match=rf"holds no {wrong[0]} with its {wrong[1]}|not a state dict") as caught:
            load_configured(path, *wrong)
        assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(WeightsError, match="corrupt"):
        load_configured(path, "net", "settings")
    with pytest.raises(WeightsError, match="check the path"):
        load_configured(tmp_path / "none.pt", "net", "settings")


_GROWTH = """
import re, sys
from pathlib import Path
import torch
from depth_retrofit_ros.io.checkpoints import load_tensors
path = Path(sys.argv[1])
small = Path(sys.argv[2])
load_tensors(small)  # whatever the reader itself takes
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])  # of this process alone
before = peak()
tensors, _ = load_tensors(path, sys.argv[3])
total = sum(float(tensor.sum()) for tensor in tensors.values())  # every page of it
print((peak() - before) / path.stat().st_size, total)
"""


@pytest.mark.parametrize("kind", ["safetensors", "zip"])
def test_a_large_file_is_in_memory_once(tmp_path: Path, kind: str) -> None:
    """Even where its digest is asked for."""
    large, small = tmp_path / "large", tmp_path / "small"
    tensors = {f"layer{i}": torch.full((1 << 21,), float(i)) for i in range(12)}  # 100 MB
    for path, content in ((large, tensors), (small, _tensors())):
        if kind == "safetensors":
            save_tensors(path, content, {})
        else:
            torch.save(content, path)
    told = run_python("-c", _GROWTH, str(large), str(small), hashlib.sha256(large.read_bytes()).hexdigest(), env=same_imports())
    assert told.returncode == 0, told.stderr
    growth, total = map(float, told.stdout.split())
    assert total == sum(range(12)) * (1 << 21)
    assert growth < 1.3


def test_an_archive_that_is_compressed_is_read_too(tmp_path: Path) -> None:
    """What lies compressed in it cannot be mapped."""
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    torch.save(_tensors(), plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    torch.testing.assert_close(load_tensors(packed)[0], _tensors(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["safetensors", "zip"])
def test_what_is_loaded_does_not_write_to_its_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w"
    save_tensors(path, _tensors(), {}) if kind == "safetensors" else torch.save(_tensors(), path)
    before = path.read_bytes()
    tensors, _ = load_tensors(path)
    tensors["a.weight"].zero_()
    assert path.read_bytes() == before
    save_tensors(path, {"a.weight": torch.ones(9)}, {})
    torch.testing.assert_close(tensors["a.bias"], _tensors()["a.bias"], rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(checkpoint.GENERIC_NAMES))
def test_a_name_of_any_model_is_none_in_a_subfolder(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match="not found in"):
        find_weights([name], tmp_path, "")
    assert find_weights(["absent"], tmp_path / "other", "", direct=[name]) == tmp_path / "other" / name
    assert find_weights([f"other/{name}"], tmp_path, "") == tmp_path / "other" / name
