"""Models of other packages: found by entry point, imported when needed, and never the end of ours."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.registry import MODELS, find_model, is_present, load_coarse
from depth_retrofit_ros.errors import ModelError
from test.coarse.plugin_package import use_plugins, write_plugin
from test.waiting import same_imports


def test_an_entry_point_names_a_model_or_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "ONE = entry('one')\nMORE = [entry('two', parameters=2), entry('three')]\n"
    use_plugins(monkeypatch, write_plugin(tmp_path, "several", source, "one = several:ONE\nmore = several:MORE"))
    assert list(MODELS)[: len(BUILT_IN)] == list(BUILT_IN)
    assert set(MODELS) - set(BUILT_IN) == {"one", "two", "three"}
    assert len(MODELS) == len(BUILT_IN) + 3
    assert find_model("two").parameters == 2
    assert is_present(find_model("one")), "it needs no checkpoint"


def test_nothing_is_imported_until_it_is_needed(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_plugin(tmp_path, f"{name}_plugin", f"MODEL = entry('{name}')\n", f"{name} = {name}_plugin:MODEL")
    program = """
import sys
from depth_retrofit_ros.coarse.registry import MODELS, find_model
loaded = lambda: [name for name in ("first_plugin", "second_plugin") if name in sys.modules]
find_model("compact"); print(loaded())
find_model("second"); print(loaded())
list(MODELS); print(loaded())
"""
    env = {"PYTHONPATH": f"{tmp_path}:{same_imports()['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['second_plugin']", "['first_plugin', 'second_plugin']"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import a_module_that_is_not_there\n", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("raise RuntimeError('first line\\nsecond line')\n", "RuntimeError: first line"),
        ("raise SystemExit('no')\n", "SystemExit: no"),
        ("", "AttributeError: module 'broken' has no attribute 'MODEL'"),
        ("MODEL = 3\n", "TypeError: int is no ModelInfo"),
        ("MODEL = [entry('fine'), 'x']\n", "TypeError: str is no ModelInfo"),
    ],
)
def test_a_broken_plug_in_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, told: str
) -> None:
    use_plugins(monkeypatch, write_plugin(tmp_path, "broken", source, "broken = broken:MODEL"))
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with caplog.at_level(logging.WARNING):
        assert set(MODELS) == set(BUILT_IN) and len(MODELS) == len(BUILT_IN)
        with pytest.raises(ModelError, match="unknown model 'broken': see 'depth-retrofit models'"):
            find_model("broken")
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    (line,) = caplog.messages
    assert line.startswith("the plug-in 'broken = broken:MODEL' of broken is left out (") and told in line and "\n" not in line


def test_a_name_that_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    write_plugin(tmp_path, "thief", "MODELS = [entry('compact', parameters=1), entry('mine')]\n", "compact = thief:MODELS")
    write_plugin(tmp_path, "twin", "MODEL = entry('mine', parameters=1)\n", "twin = twin:MODEL")
    use_plugins(monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert set(MODELS) == {*BUILT_IN, "mine"}
    assert MODELS["compact"] is BUILT_IN["compact"] and MODELS["mine"].parameters == 7
    assert caplog.messages == [
        "model 'compact' of the plug-in 'compact = thief:MODELS' of thief is left out: the name is taken",
        "model 'mine' of the plug-in 'twin = twin:MODEL' of twin is left out: the name is taken",
    ]


def test_an_adapter_that_cannot_be_imported_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "MODEL = entry('half', loader='half_adapter:load')\n"
    use_plugins(monkeypatch, write_plugin(tmp_path, "half", source, "half = half:MODEL"))
    with pytest.raises(ModelError, match=r"model 'half' cannot be imported \(No module named 'half_adapter'\)"):
        load_coarse("half", weights=None, device="cpu")
    with pytest.raises(ModelError, match="half has no checkpoint of its own: leave weights out"):
        load_coarse("half", weights=tmp_path, device="cpu")


def test_the_public_names_are_light_and_those_of_their_modules() -> None:
    program = (
        "import sys; from depth_retrofit_ros.coarse import HubModel, ModelInfo, ScaleClaim, long_side, short_side; "
        "print([m for m in ('torch', 'numpy', 'huggingface_hub') if m in sys.modules]); "
        "import depth_retrofit_ros.coarse as doors; print(all(getattr(doors, name) is not None for name in doors.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True"]
