"""Publishers and subscriptions as every one of this node is made: reliable out, best effort in, open to overrides, never silent.

Publishers are reliable, because rviz and rosbag2 ask for that by default and would receive nothing from a best-effort one;
subscriptions are best effort, because that receives from either kind (REP-2003). Whoever needs another policy sets a parameter,
``qos_overrides./topic.subscription.reliability`` and the like. Where two ends still do not fit, one line says what to change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.ros.context import rcl_words

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from rclpy.subscription import Subscription

LARGE_DEPTH = 2  # images and clouds: one on its way, one being made
SMALL_DEPTH = 10

_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
# Policy → the value with which our end fits any other: what we offer at most, what we ask for at least.
_OFFER = {QoSPolicyKind.RELIABILITY: "reliable", QoSPolicyKind.DURABILITY: "transient_local"}
_REQUEST = {QoSPolicyKind.RELIABILITY: "best_effort", QoSPolicyKind.DURABILITY: "volatile"}


def tells_matches() -> bool:
    """Whether this rclpy calls back when a publisher gains or loses a subscription (from Jazzy on)."""
    return "matched" in inspect.signature(PublisherEventCallbacks.__init__).parameters


def publish_to(node: Node, message_type: type, topic: str, depth: int, matched: Callable[[], None] | None = None) -> Publisher:
    """A reliable keep-last publisher. Raises GraphError where there can be none, as with an override that means nothing.

    matched: called by the executor whenever it gains or loses a subscription, where rclpy and the middleware tell that.
    """
    name = node.resolve_topic_name(topic)

    def warn(event: Any) -> None:
        _warn(node, f"a subscription of {name} asks for", f"{name}.publisher", event.last_policy_kind, _OFFER)

    def publish(callbacks: PublisherEventCallbacks) -> Publisher:
        options = {"qos_overriding_options": _options(), "event_callbacks": callbacks}
        with _told(node, name):
            return node.create_publisher(message_type, topic, _profile(ReliabilityPolicy.RELIABLE, depth), **options)

    if matched is not None and tells_matches():
        tell = matched  # a name that is never None
        with suppress(UnsupportedEventTypeError):
            return publish(PublisherEventCallbacks(incompatible_qos=warn, matched=lambda event: tell()))
    return publish(PublisherEventCallbacks(incompatible_qos=warn))


def subscribe_newest(
    node: Node, message_type: type, topic: str, callback: Callable[[Any], None], lost: Callable[[int], None] | None = None
) -> Subscription:
    """A best-effort subscription that keeps the newest message only: a late node wants the present, not a queue of the past.

    lost: told how many messages more the transport lost on their way here, where the middleware can tell; messages that a newer one
    overwrote are not among them. Raises GraphError for an override that means nothing.
    """
    name = node.resolve_topic_name(topic)

    def warn(event: Any) -> None:
        _warn(node, f"a publisher of {name} offers", f"{name}.subscription", event.last_policy_kind, _REQUEST)

    def subscribe(callbacks: SubscriptionEventCallbacks) -> Subscription:
        options = {"qos_overriding_options": _options(), "event_callbacks": callbacks}
        with _told(node, name):
            return node.create_subscription(message_type, topic, callback, _profile(ReliabilityPolicy.BEST_EFFORT, 1), **options)

    if lost is not None:
        count = lost  # a name that is never None
        with suppress(UnsupportedEventTypeError):
            told = SubscriptionEventCallbacks(incompatible_qos=warn, message_lost=lambda event: count(event.total_count_change))
            return subscribe(told)
    return subscribe(SubscriptionEventCallbacks(incompatible_qos=warn))


@contextmanager
def _told(node: Node, name: str) -> Iterator[None]:
    """rclpy's and rcl's answer to an override such as `reliability: sometimes` or `depth: -1`, as one of ours."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, UnsupportedEventTypeError) or not node.context.ok():
            raise  # of the caller; a signal has shut the context down
        raise GraphError(f"{name}: {rcl_words(error)}: correct or remove the parameters qos_overrides.{name}.*") from None


def _profile(reliability: ReliabilityPolicy, depth: int) -> QoSProfile:
    """Made anew for each endpoint, because rclpy writes the overrides of one into it."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE)


def _options() -> QoSOverridingOptions:
    return QoSOverridingOptions(_OVERRIDABLE)


def _warn(node: Node, who: str, endpoint: str, kind: int, fitting: dict[QoSPolicyKind, str]) -> None:
    policy = next((known for known in QoSPolicyKind if known == kind), QoSPolicyKind.INVALID)
    name, remedy = policy.name.lower(), "change it there"
    if policy in fitting:
        remedy += f", or start this node with -p qos_overrides.{endpoint}.{name}:={fitting[policy]}"
    node.get_logger().warning(f"{who} a QoS that does not fit ours ({name}), so nothing passes between us: {remedy}")
