"""The live page of a running node: what the viewer gets of it, its state, and its budget, in any browser.

Without a browser nothing is subscribed and nobody is asked.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.transport.qos import subscribe_newest
from depth_retrofit_ros.ros.view.budget_link import BudgetLink
from depth_retrofit_ros.ros.view.node_watch import NodeWatch
from depth_retrofit_ros.ros.view.points import thinned
from depth_retrofit_ros.ros.view.viewer import CONFIDENCE, TOPICS, VIEWS, Sink
from depth_retrofit_ros.ros.view.web_page import PICTURES, WebPage
from depth_retrofit_ros.ros.view.web_server import is_loopback, start_server, stop_server

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from sensor_msgs.msg import PointCloud2

    from depth_retrofit_ros.ros.view.points import Points

TICK_S = 0.2
_TELL_EVERY_S = 0.5
_FOLDER = "/view/"


class WebView:
    """``with WebView("127.0.0.1", 8080, "/depth_retrofit", "ROS domain 0", 60_000) as web: ...``; then ``web.sink`` is for a
    ``Viewer`` and ``web.attach`` for its node.

    name: the depth node's full name. points: of the cloud, at first. Raises what ``start_server`` raises.
    """

    def __init__(self, host: str, port: int, name: str, where: str, points: int) -> None:
        self._host, self._port, self._name = host, port, name
        self._points = points
        self._watch = NodeWatch(name, where)
        self._node: Node | None = None
        self._server: Any = None
        self._page: WebPage | None = None
        self._budget: BudgetLink | None = None
        self._stats: Subscription | None = None
        self._told_s = float("-inf")

    def __enter__(self) -> WebView:
        self._server = start_server(self._host, self._port, self._name)
        try:
            self._page = WebPage(self._server, self._points)
        except BaseException:
            stop_server(self._server)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        stop_server(self._server)

    @property
    def address(self) -> str:
        """What to open in a browser of this machine, or with another ``host`` of any that reaches it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.get_port()}"

    @property
    def is_open(self) -> bool:
        """Whether others than this machine reach it."""
        return not is_loopback(self._host)

    @property
    def page(self) -> WebPage:
        """There from ``__enter__`` on."""
        assert self._page is not None
        return self._page

    @property
    def sink(self) -> Sink:
        """Where the viewer writes to."""
        return Sink(
            self._write,
            wanted=lambda view: self.page.wants(view.removeprefix(_FOLDER)),
            connected=lambda: self.page.browsers > 0,
            report=lambda report: self._watch.reported(report, time.monotonic()),
            picture=lambda image, header: image,
            cloud=self._thinned,
            views=(*VIEWS, CONFIDENCE),
        )

    def attach(self, node: Node) -> None:
        """Let ``node``, which the viewer has too, look after the page as long as it is spun."""
        self._node = node
        node.create_timer(TICK_S, self.tick)

    def tick(self) -> None:
        """What has to be done now and then."""
        now_s = time.monotonic()
        self.page.sync()
        if self.page.browsers == 0:
            self._leave()
            return
        budget = self._budget if self._budget is not None else self._arrive(now_s)
        wish = self.page.take_budget_wish()
        if wish is not None:
            budget.wish(wish)
        budget.tick(now_s)
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._tell(budget, now_s)

    def _tell(self, budget: BudgetLink, now_s: float) -> None:
        state = self._watch.state(now_s)
        self.page.tell(state.level, state.headline, state.lines)
        self.page.tell_budget(budget.value if state.alive else None, budget.answer, budget.settled)
        if state.alive and self._is_published("frame_stats"):  # else it is about to go, or not active: what is shown stays
            self.page.offer([name for name in PICTURES if name not in TOPICS or self._is_published(TOPICS[name])])

    def _is_published(self, topic: str) -> bool:
        assert self._node is not None
        return self._node.count_publishers(f"{self._name}/{topic}") > 0

    def _arrive(self, now_s: float) -> BudgetLink:
        """The first browser is here."""
        assert self._node is not None
        self._watch.forget(now_s)
        self._stats = subscribe_newest(self._node, FrameStats, f"{self._name}/frame_stats", self._on_stats)
        self._budget = BudgetLink(self._node, self._name)
        return self._budget

    def _leave(self) -> None:
        """The last browser is gone."""
        if self._budget is not None and self._node is not None:
            self._budget.close()
            self._node.destroy_subscription(self._stats)
            self._budget = self._stats = None

    def _on_stats(self, stats: FrameStats) -> None:
        self._watch.answered(stats, time.monotonic())

    def _thinned(self, cloud: PointCloud2, columns: int) -> Points:
        """The page says how many points it wants; columns are of messages."""
        return thinned(cloud, self.page.points)

    def _write(self, view: str, shown: Any) -> None:
        name = view.removeprefix(_FOLDER)
        if name == "points":
            self.page.show_cloud(shown)
        else:
            self.page.show_picture(name, shown)
