"""Nothing that arrives from the graph ends the node: each callback's error is told, and each request is answered.

rclpy lets whatever a callback raises leave ``executor.spin()``, and so end the process: its own services raise for a lifecycle
transition that is not possible now, and for a parameter of an unknown type. The client then waits for an answer for ever.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException

from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger, one_line, quoted

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.lifecycle import LifecycleNode
    from rclpy.node import Node
    from rclpy.service import Service

Answer = Callable[[Any, Any], Any]  # request, response to fill → response
Method = TypeVar("Method", bound=Callable[..., Any])


class ResilientExecutor(SingleThreadedExecutor):
    """Tells what a callback raises, and goes on. What the middleware itself raises while waiting for callbacks still ends it.

    tell: is given each error, in the executor's thread; errors while the context shuts down are none. by_node: who is given the
    errors of which node's callbacks instead.
    """

    def __init__(
        self,
        tell: Callable[[Exception], None],
        by_node: Mapping[Node, Callable[[Exception], None]] | None = None,
        *,
        context: Context | None = None,
    ) -> None:
        super().__init__(context=context)
        self._tell = tell
        self._by_node = dict(by_node or {})

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and run it."""
        try:
            handler, _, node = self.wait_for_ready_callbacks(timeout_sec=timeout_sec)
        except (ShutdownException, TimeoutException):
            return
        handler()
        error = handler.exception()
        if error is not None and self.context.ok():
            self._by_node.get(node, self._tell)(error)


def answer_every_request(
    node: LifecycleNode, log: ThrottledLogger, note_fault: Callable[[Exception], bool] = lambda error: False
) -> None:
    """Let each service that the node has now answer whatever its callback raises, as a refusal. One line tells it.

    note_fault: whether an error is one that ends the process, with a line of its own.
    """
    for service in node.services:
        answer = _answering(service, log, note_fault)
        if service.srv_type is ChangeState:
            answer = _if_possible(node, answer, log)
        elif service.srv_type is SetParameters:
            answer = _one_by_one(answer)
        service.callback = answer


def told(callback: Method) -> Method:
    """For a node's lifecycle callbacks, told by its ``on_transition_error``: rclpy takes what they raise as an ERROR, silently."""

    @functools.wraps(callback)
    def call(node: Any, *arguments: Any) -> Any:
        try:
            return callback(node, *arguments)
        except Exception as error:
            node.on_transition_error(callback.__name__, error)
            raise

    return call  # type: ignore[return-value]


@contextmanager
def unless_shut_down(node: Node) -> Iterator[None]:
    """Publishing while a signal shuts the context down raises; that is no error of ours."""
    try:
        yield
    except RCLError:
        if node.context.ok():
            raise


def _answering(service: Service, log: ThrottledLogger, note_fault: Callable[[Exception], bool]) -> Answer:
    answer, name, response_type = service.callback, service.srv_name, service.srv_type.Response

    def safely(request: Any, response: Any) -> Any:
        try:
            return answer(request, response)
        except Exception as error:
            reason = one_line(error)
            if not note_fault(error):
                log.event(f"request refused on {name}: {reason}")
            refusal = response_type()  # what is filled in so far is not the answer; success is false by default
            if isinstance(request, SetParametersAtomically.Request):
                refusal.result.reason = reason
            elif isinstance(request, SetParameters.Request):
                refusal.results = [SetParametersResult(successful=False, reason=reason) for _ in request.parameters]
            return refusal

    return safely


def _one_by_one(answer: Answer) -> Answer:
    """Parameters are set one by one: one that cannot be read must not take the answer about the others with it."""

    def each(request: SetParameters.Request, response: SetParameters.Response) -> SetParameters.Response:
        for parameter in request.parameters:
            single = answer(SetParameters.Request(parameters=[parameter]), SetParameters.Response())
            response.results.append(single.results[0])
        return response

    return each


def _if_possible(node: LifecycleNode, answer: Answer, log: ThrottledLogger) -> Answer:
    """A transition that the state does not have is refused before rclpy begins it. As rclpy does, a label outranks the id."""

    def change(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        machine, asked = node._state_machine, request.transition  # rclpy has no public door to it
        possible = {label: number for number, label, *_ in machine.available_transitions}
        if asked.label in possible if asked.label else asked.id in possible.values():
            return answer(request, response)
        word = quoted(asked.label) if asked.label else str(asked.id)
        choice = f"only {', '.join(possible)}" if possible else "nothing any more: start it anew"
        log.event(f"transition {word} refused: the node is {machine.current_state[1]}, from where it can {choice}")
        response.success = False
        return response

    return change
