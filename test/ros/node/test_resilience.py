"""Whatever request comes: it is answered, and the node lives."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue, SetParametersResult
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.node.parameters import PARAMETERS
from test.ros.graph import NODE, Graph, SlantedWall, image_message, repeat_until, wait_until
from test.ros.node.test_lifecycle import change, state

ILLEGAL: list[tuple[str, list[int], list[int]]] = [
    ("configure while active", [], [Transition.TRANSITION_CONFIGURE]),
    ("cleanup while active", [], [Transition.TRANSITION_CLEANUP]),
    ("deactivate twice", [Transition.TRANSITION_DEACTIVATE], [Transition.TRANSITION_DEACTIVATE]),
    (
        "ids that do not exist",
        [],
        [0, 42, 200, 255, Transition.TRANSITION_ON_CONFIGURE_SUCCESS, Transition.TRANSITION_ON_ERROR_ERROR],
    ),
    ("anything after shutdown", [Transition.TRANSITION_ACTIVE_SHUTDOWN], list(range(9))),
]


@pytest.mark.parametrize(("case", "before", "illegal"), ILLEGAL, ids=[case for case, *_ in ILLEGAL])
def test_an_illegal_transition_is_refused_with_one_line(graph: Graph, case: str, before: list[int], illegal: list[int]) -> None:
    node = graph.depth_node(SlantedWall())
    for transition in before:
        assert change(graph, transition)
    stays = state(graph)
    for transition in illegal:
        assert not change(graph, transition), (case, transition)
        line = graph.warnings(node)[-1]
        assert line.startswith(f"transition {transition} refused: the node is ") and "\n" not in line
        assert state(graph) == stays
    assert len(graph.warnings(node)) == len(illegal)


def test_a_transition_by_label_is_taken_or_refused_likewise(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())

    def by_label(label: str) -> bool:
        request = ChangeState.Request(transition=Transition(label=label))
        return bool(graph.call(ChangeState, f"{NODE}/change_state", request).success)

    assert not by_label("fly\nhome")
    assert graph.warnings(node) == [
        r"transition 'fly\nhome' refused: the node is active, from where it can only deactivate, shutdown"
    ]
    assert not by_label("configure")
    assert by_label("deactivate") and state(graph) == State.PRIMARY_STATE_INACTIVE


def test_managers_that_all_call_at_once_are_all_answered(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    clients = [graph.client.create_client(ChangeState, f"{NODE}/change_state") for _ in range(5)]
    wait_until(lambda: all(client.service_is_ready() for client in clients), "the service")
    futures = [client.call_async(request) for client in clients]
    wait_until(lambda: all(future.done() for future in futures), "the answers")
    assert sorted(future.result().success for future in futures) == [False] * 4 + [True]


def test_a_lifecycle_callback_that_raises_is_told(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    node = graph.depth_node(SlantedWall())

    def broken(*arguments: object) -> None:
        raise OSError("the bus is on fire")

    monkeypatch.setattr(node._inputs, "close", broken)
    assert not change(graph, Transition.TRANSITION_DEACTIVATE)
    assert "on_deactivate failed: OSError: the bus is on fire" in graph.warnings(node)
    monkeypatch.undo()
    assert node.on_error(LifecycleState("active", 3)) == TransitionCallbackReturn.SUCCESS


def set_raw(graph: Graph, *parameters: ParameterMessage) -> list[SetParametersResult]:
    request = SetParameters.Request(parameters=list(parameters))
    return list(graph.call(SetParameters, f"{NODE}/set_parameters", request).results)


def raw(name: str, kind: int, **values: Any) -> ParameterMessage:
    return ParameterMessage(name=name, value=ParameterValue(type=kind, **values))


def test_a_parameter_of_an_unknown_type_is_refused_and_the_others_are_set(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    unknown = raw("budget", 42)
    results = set_raw(graph, raw("cloud_stride", 2, integer_value=4), unknown, raw("target_fps", 3, double_value=7.0))
    assert [result.successful for result in results] == [True, False, True]
    assert "42" in results[1].reason and "\n" not in results[1].reason
    assert (node.settings.cloud_stride, node.settings.target_fps) == (4, 7.0)
    request = SetParametersAtomically.Request(parameters=[raw("cloud_stride", 2, integer_value=8), unknown])
    result = graph.call(SetParametersAtomically, f"{NODE}/set_parameters_atomically", request).result
    assert not result.successful and "42" in result.reason
    assert node.settings.cloud_stride == 4


class Anything:
    """Requests of every kind, as no client means them."""

    NAMES = (*(row.name for row in PARAMETERS), "use_sim_time", "least_budget", "", " ", "no.such", "/", "a" * 300, "ä\n", "..")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def parameter(self) -> ParameterMessage:
        value = ParameterValue(type=self.random.choice((*range(10), 42, 255)))
        value.integer_value = self.random.choice((0, 1, -1, 2**63 - 1, -(2**63)))
        value.double_value = self.random.choice((0.0, 0.5, float("nan"), float("inf"), -1e308))
        value.string_value = self.random.choice(("", "none", "raw", "\x00", "ä" * 50, "no-such"))
        value.bool_value = self.random.random() < 0.5
        value.string_array_value = self.random.choice(([], ["depth"], ["", ""], ["points", "preview"]))
        value.double_array_value = self.random.choice(([], [0.0] * 7, [float("nan")] * 7, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
        value.integer_array_value = self.random.choice(([], [0, 0, 0, 0, 0, 0, 1], [2**63 - 1]))
        value.byte_array_value = self.random.choice(([], [b"\xff"]))
        return ParameterMessage(name=self.random.choice(self.NAMES), value=value)

    def names(self) -> list[str]:
        return self.random.choices(self.NAMES, k=self.random.randrange(4))

    def request(self) -> tuple[Any, str, Any]:
        makers: tuple[tuple[Any, str, Callable[[], Any]], ...] = (
            (SetParameters, "set_parameters", lambda: {"parameters": [self.parameter() for _ in range(self.random.randrange(4))]}),
            (
                SetParametersAtomically,
                "set_parameters_atomically",
                lambda: {"parameters": [self.parameter() for _ in range(self.random.randrange(4))]},
            ),
            (GetParameters, "get_parameters", lambda: {"names": self.names()}),
            (GetParameterTypes, "get_parameter_types", lambda: {"names": self.names()}),
            (DescribeParameters, "describe_parameters", lambda: {"names": self.names()}),
            (
                ListParameters,
                "list_parameters",
                lambda: {"prefixes": self.names(), "depth": self.random.choice((0, 1, 2**64 - 1))},
            ),
            (GetState, "get_state", dict),
            (GetAvailableStates, "get_available_states", dict),
            (GetAvailableTransitions, "get_available_transitions", dict),
            (GetAvailableTransitions, "get_transition_graph", dict),
            (ChangeState, "change_state", lambda: {"transition": self.transition()}),
        )
        service, name, fields = self.random.choice(makers)
        return service, name, service.Request(**fields())

    def transition(self) -> Transition:
        label = self.random.choice(("", "", "", "activate", "deactivate", "transition_success", "fly", "\x00"))
        # No shutdown, after which nothing more could happen; it has a test of its own.
        return Transition(id=self.random.choice((0, 1, 2, 3, 4, 9, 10, 30, 62, 99, 255)), label=label)


@pytest.mark.parametrize("seed", range(3))
def test_any_request_is_answered_and_the_node_still_works(graph: Graph, seed: int) -> None:
    node = graph.depth_node(SlantedWall())
    anything = Anything(seed)
    for _ in range(200):
        service, name, request = anything.request()
        response = graph.call(service, f"{NODE}/{name}", request)
        if service is SetParameters:
            assert len(response.results) == len(request.parameters)
        values = {row.name: node.get_parameter(row.name).value for row in PARAMETERS}
        assert node.settings.changed(values.items()) == node.settings, "what is shown is what is applied"
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        change(graph, transition)  # from wherever it is
    for name, wanted in (("outputs", ["depth"]), ("target_fps", 0.0), ("image_transport", "raw"), ("align", "none")):
        assert graph.set_parameter(node, name, wanted).successful
    assert change(graph, Transition.TRANSITION_CONFIGURE) and change(graph, Transition.TRANSITION_ACTIVATE)
    depths, images = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message()), lambda: depths, "depth")


def test_a_callback_that_raises_is_told_once_and_the_others_go_on(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    calls: list[None] = []

    def broken() -> None:
        calls.append(None)
        raise ZeroDivisionError("by nothing")

    timer = node.create_timer(0.01, broken)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: len(calls) > 3 and reports, "several errors, and a report after them")
    node.destroy_timer(timer)
    assert all(isinstance(error, ZeroDivisionError) for error in graph.errors)
    for error in graph.errors:
        node.on_callback_error(error)
    graph.errors.clear()
    assert graph.warnings(node) == ["ZeroDivisionError: by nothing"]


def test_a_service_that_raises_answers_no(graph: Graph) -> None:
    from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger
    from depth_retrofit_ros.ros.node.resilience import answer_every_request

    node = graph.depth_node(SlantedWall(), start=False)

    def broken(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        raise ZeroDivisionError("by nothing")

    node.create_service(Trigger, "~/trigger", broken)
    answer_every_request(node, ThrottledLogger(node.get_logger()))
    assert not graph.call(Trigger, f"{NODE}/trigger", Trigger.Request()).success
    assert graph.warnings(node) == ["request refused on ~/trigger: ZeroDivisionError: by nothing"]


def on_the_graph(graph: Graph) -> bool:
    return ("depth_retrofit", "/") in graph.client.get_node_names_and_namespaces()


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_node_that_refuses_its_start_leaves_the_graph_at_once(graph: Graph, no_garbage_collection: None) -> None:
    """Whoever starts another in the same process would find two of the name."""
    with pytest.raises(SetupError, match="budget"):
        DepthNode(context=graph.context, parameter_overrides=[Parameter("budget", value=7.0)])
    wait_until(lambda: not on_the_graph(graph), "the end of it")


def test_a_destroyed_node_leaves_the_graph_at_once(graph: Graph, no_garbage_collection: None) -> None:
    node = DepthNode(context=graph.context)
    wait_until(lambda: on_the_graph(graph), "the node")
    for _ in range(2):
        node.destroy_node()
    wait_until(lambda: not on_the_graph(graph), "the end of it")
