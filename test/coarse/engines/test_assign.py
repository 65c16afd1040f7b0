"""The parameters ``coarse_engine`` and ``coarse_precision``: what combines, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros import retrofit
from depth_retrofit_ros.coarse.engines import assign
from depth_retrofit_ros.coarse.engines.assign import assign_engine, check_engine, engine_of
from depth_retrofit_ros.coarse.engines.base import Source
from depth_retrofit_ros.coarse.engines.choice import ENGINE_VARIABLE, Choice, Measured
from depth_retrofit_ros.coarse.engines.compiled import use_engine
from depth_retrofit_ros.coarse.engines.eager import EagerEngine
from depth_retrofit_ros.coarse.engines.inductor import InductorEngine
from depth_retrofit_ros.coarse.registry import MODELS, load_coarse
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.frame import Frame
from test.coarse.engines.models import CASES
from test.coarse.families import image


@pytest.mark.parametrize(
    ("engine", "precision", "device", "told"),
    [
        ("tensorflow", "auto", "cpu", r"^unknown coarse engine 'tensorflow': choose one of auto, eager, inductor, onnxruntime"),
        ("auto", "half", "cpu", r"^unknown coarse precision 'half': choose one of auto, float32, bfloat16, float16$"),
        (
            "onnxruntime",
            "bfloat16",
            "cpu",
            r"^coarse engine onnxruntime computes in float32, not in bfloat16: choose that, or auto$",
        ),
        ("openvino", "auto", "cuda", r"^coarse engine openvino computes on cpu, not on cuda: use eager$"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(engine: str, precision: str, device: str, told: str) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    with pytest.raises(ModelError, match=told) as refused:
        check_engine(engine, precision, device)
    assert "\n" not in str(refused.value)


def test_it_is_told_before_a_checkpoint_is_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown coarse engine"):
        load_coarse("compact", weights=tmp_path / "missing", device="cpu", engine="tensorflow")


def test_missing_software_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from depth_retrofit_ros.coarse.engines import registry

    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs onnx, onnxscript, openvino: pip install 'depth_retrofit_ros\[openvino\]'$"):
        check_engine("openvino", "auto", "cpu")


class Plain:
    """A model without a network."""

    name, device = "plain", torch.device("cpu")


@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_a_model_without_a_network_stays_as_it_is(engine: str) -> None:
    model = Plain()
    assign_engine(model, MODELS["compact"], None, engine, "auto")  # type: ignore[arg-type]
    assert engine_of(model) == "eager" and not hasattr(model, "network")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("engine", "precision", "named"),
    [("inductor", "auto", "engine inductor"), ("auto", "float16", "precision float16")],
)
def test_a_model_without_a_network_takes_nothing_that_is_named(engine: str, precision: str, named: str) -> None:
    with pytest.raises(ModelError, match=rf"^compact has no network that coarse {named} could take: use coarse engine eager and"):
        assign_engine(Plain(), MODELS["compact"], None, engine, precision)  # type: ignore[arg-type]


def test_eager_in_its_own_precision_is_the_network_itself() -> None:
    model = CASES["compact"].make()
    network = model.network
    for engine, precision in (("eager", "auto"), ("eager", "float32")):
        assign_engine(model, MODELS["compact"], None, engine, precision)
        assert model.network is network


def test_eager_takes_another_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    model, expected = CASES["compact"].make(), CASES["compact"].make()
    assign_engine(model, MODELS["compact"], None, "eager", "float16")
    assert engine_of(model) == "eager float16"
    monkeypatch.setattr("depth_retrofit_ros.coarse.engines.compiled.check", lambda *given: "not looked at: random weights")
    given, wanted = (m.predict(image(90, 120), None).depth for m in (model, expected))
    assert given.dtype == torch.float32 and not torch.equal(given, wanted)
    torch.testing.assert_close(given, wanted, rtol=0.1, atol=0)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_bundled_model_answers_alike_by_each_engine(engine: str) -> None:
    pytest.importorskip(engine)
    scene = image(90, 160)
    plain = load_coarse("compact", weights=None, device="cpu", size=96)
    model = load_coarse("compact", weights=None, device="cpu", size=96, engine=engine)
    with torch.inference_mode():
        expected, given = plain.predict(scene, None), model.predict(scene, None)
    assert engine_of(model) == f"{engine} float32"
    torch.testing.assert_close(given.depth, expected.depth, rtol=1e-3, atol=0)
    torch.testing.assert_close(given.features, expected.features, rtol=1e-3, atol=1e-3)


def test_the_method_runs_by_an_engine_and_says_so() -> None:
    pytest.importorskip("onnxruntime")
    method = retrofit.load("compact", device="cpu", coarse_engine="onnxruntime", coarse_size=96)
    frame = Frame(image(90, 160).numpy())
    depth = method(frame).depth
    plain = retrofit.load("compact", device="cpu", coarse_engine="eager", coarse_size=96)(frame).depth
    assert engine_of(method.coarse) == "onnxruntime float32"
    assert float(np.median(np.abs(np.log(depth.numpy() / plain.numpy())))) < 1e-3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_cuda_graphs_replay_what_runs_on_torchs_stream_alone(engine: str) -> None:
    with pytest.raises(
        ModelError, match=rf"^cuda_graphs replays coarse engine eager or inductor, not {engine}: leave one of them out$"
    ):
        retrofit.load("compact", cuda_graphs=True, coarse_engine=engine)


def test_the_engine_of_a_model_is_known_through_what_wraps_it() -> None:
    from depth_retrofit_ros.coarse.graphed import GraphedCoarse

    model = CASES["compact"].make()
    use_engine(model, EagerEngine(), torch.bfloat16, Source("compact", ""))
    assert engine_of(GraphedCoarse(model)) == engine_of(model) == "eager bfloat16"


def test_the_environment_names_an_engine_as_a_user_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv(ENGINE_VARIABLE, "onnxruntime")
    with pytest.raises(ModelError, match=r"^coarse engine onnxruntime computes in float32, not in bfloat16: choose that, or auto$"):
        load_coarse("compact", weights=None, device="cpu", engine="auto", precision="bfloat16")
    with pytest.raises(ModelError, match=r"^cuda_graphs replays coarse engine eager or inductor, not onnxruntime: "):
        retrofit.load("compact", cuda_graphs=True)
    monkeypatch.setenv(ENGINE_VARIABLE, "tensorflow")
    with pytest.raises(ModelError, match=r"^unknown coarse engine 'tensorflow'"):
        load_coarse("compact", weights=None, device="cpu", engine="auto")


def test_an_engine_takes_none_but_its_precisions() -> None:
    class Single(EagerEngine):
        name = "single"
        precisions: tuple[torch.dtype, ...] = (torch.float32,)

    with pytest.raises(ModelError, match=r"^coarse engine single computes in float32, not in float16: choose that, or auto$"):
        use_engine(CASES["compact"].make(), Single(), torch.float16, Source("compact", ""))


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_a_precision_that_is_named_is_not_left_without_a_word(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(assign, "use_engine", lambda *given, falls_back: taken.append(falls_back))
    monkeypatch.setattr(assign, "choose", lambda *given: Choice(Measured("inductor", "bfloat16", 2.0)))
    assign_engine(CASES["compact"].make(), MODELS["compact"], None, "auto", precision)
    assert taken == [precision == "auto"]


def test_a_method_whose_engine_compiles_waits_for_each_size() -> None:
    method = retrofit.load("compact", device="cpu", coarse_engine="eager", coarse_size=96)
    assert not method.compiles_for_size and not method.is_building
    use_engine(method.coarse, InductorEngine(), torch.float32, Source("compact", ""))
    assert method.compiles_for_size and not method.is_building
    method.coarse.network.is_making = True
    assert method.is_building
