"""The node's parameter ``budget`` through its parameter services: read now and then, set when somebody asks for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters

from depth_retrofit_ros.ros.health.throttled_log import one_line

if TYPE_CHECKING:
    from rclpy.client import Client
    from rclpy.node import Node

NAME = "budget"
PATIENCE_S = 5.0  # for the answer to a call
READ_EVERY_S = 2.0  # others may set it too


class BudgetLink:
    """One call at a time; of several wishes the newest. For one thread, the executor's of ``node``.

    value: what the node has, None while that is unknown. answer: what became of the last wish, in a line, empty before one.
    """

    def __init__(self, node: Node, name: str) -> None:
        self.value: float | None = None
        self.answer = ""
        self._node = node
        self._get: Client = node.create_client(GetParameters, f"{name}/get_parameters")
        self._set: Client = node.create_client(SetParameters, f"{name}/set_parameters")
        self._wish: float | None = None
        self._asked: tuple[Client, Any, float | None] | None = None  # client, future and what was wished, None of a question
        self._asked_s = self._read_s = -math.inf

    @property
    def settled(self) -> bool:
        """Whether ``value`` is the answer to everything that was wished."""
        return self._wish is None and (self._asked is None or self._asked[2] is None)

    def wish(self, value: float) -> None:
        """That the budget be ``value``, of whatever size: the node is the judge."""
        self._wish, self.answer = value, f"asking for {value:.3g} …"

    def tick(self, now_s: float) -> None:
        """Take what was answered, and ask what is to be asked; returns at once. now_s: of the monotonic clock [s]."""
        if self._asked is not None:
            self._look_at_answer(now_s)
        if self._asked is not None:
            return
        if self._wish is not None:
            value, self._wish = self._wish, None
            if self._set.service_is_ready():
                wanted = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
                request = SetParameters.Request(parameters=[ParameterMessage(name=NAME, value=wanted)])
                self._ask(self._set, request, value, now_s)
            else:
                self.answer = f"{value:.3g} is not set: no node answers"
        elif now_s - self._read_s >= READ_EVERY_S and self._get.service_is_ready():
            self._ask(self._get, GetParameters.Request(names=[NAME]), None, now_s)

    def close(self) -> None:
        """Take the clients from the graph."""
        for client in (self._get, self._set):
            self._node.destroy_client(client)

    def _ask(self, client: Client, request: Any, wished: float | None, now_s: float) -> None:
        self._asked, self._asked_s = (client, client.call_async(request), wished), now_s

    def _look_at_answer(self, now_s: float) -> None:
        assert self._asked is not None
        client, future, wished = self._asked
        if not future.done():
            if now_s - self._asked_s < PATIENCE_S:
                return
            client.remove_pending_request(future)
            self._read_s = now_s
            if wished is not None:
                self.answer = f"{wished:.3g} is not set: no answer within {PATIENCE_S:g} s"
        elif future.exception() is not None:
            self.answer = f"{NAME} is unknown: {one_line(future.exception())}"
        elif wished is None:
            self._take_value(future.result(), now_s)
        else:
            self._take_result(future.result(), wished)
        self._asked = None

    def _take_value(self, response: GetParameters.Response, now_s: float) -> None:
        self._read_s = now_s
        known = [found.double_value for found in response.values if found.type == ParameterType.PARAMETER_DOUBLE]
        self.value = known[0] if known else None

    def _take_result(self, response: SetParameters.Response, wished: float) -> None:
        result = response.results[0] if response.results else None
        if result is not None and result.successful:
            self.value, self.answer = wished, f"the node took {wished:.3g}"
        else:
            reason = result.reason if result is not None and result.reason else "without a reason"
            self.answer = f"the node refused {wished:.3g}: {reason}"
        self._read_s = -math.inf  # read it anew: with another one's the last word may not be ours
