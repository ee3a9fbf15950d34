"""The Scrapy addon: turns a project into a distributed, polite crawler.

``ADDONS = {"crawler.worker.Addon": 100}`` and ``COMITY_REDIS_URL`` in a project's settings are all
it takes: every ``scrapy crawl`` of a spider is then one more worker of its job. See docs/scrapy.md.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from scrapy.settings import SETTINGS_PRIORITIES

from crawler.job import UsageError
from crawler.worker.addon.plan import Plan, overrides, plan, wiring

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

__all__ = ["Addon", "plan_of"]

_log: Final = logging.getLogger("comity.addon")
_OUTERMOST: Final = -1_000_000  # of the spider middlewares
_MUST: Final = SETTINGS_PRIORITIES["cmdline"]  # an addon's own priority is below the project's
_SCHEDULER: Final = "crawler.worker.addon.scheduler.AddonScheduler"
_START: Final = "crawler.worker.addon.starting.StartMiddleware"


class Addon:
    """What Scrapy loads; it changes settings alone, and names each that it takes from a project."""

    def __init__(self, crawler: Crawler) -> None:
        self._spider = crawler.spidercls.name
        self.plan: Plan | None = None
        self.problem = ""  # why there is none; the spider is closed with it

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """As Scrapy makes its components."""
        return cls(crawler)

    def update_settings(self, settings: BaseSettings) -> None:
        """Set what the fleet needs, above anything that the project may say."""
        try:
            self.plan = plan(settings, str(self._spider))
        except UsageError as error:
            self.problem = str(error)  # said, and the spider closed, once it is open
            settings.set("SCHEDULER", _SCHEDULER, _MUST)
            settings["SPIDER_MIDDLEWARES"].set(_START, _OUTERMOST, _MUST)
            return
        if not self.plan.spec.contact:
            _log.warning("COMITY_CONTACT is not set: public hosts will be left out")
        for each in overrides(self.plan):
            self._set(settings, each.name, each.value, each.why)
        settings.setdict(dict(wiring(self.plan)), _MUST)
        settings["SPIDER_MIDDLEWARES"].set(_START, _OUTERMOST, _MUST)

    def _set(self, settings: BaseSettings, name: str, value: Any, why: str) -> None:
        old, priority = settings.get(name), settings.getpriority(name) or 0
        if priority > SETTINGS_PRIORITIES["default"] and _plain(old) != value:
            _log.warning("%s = %r gives way to %r: %s", name, _plain(old), value, why)
        settings.set(name, value, _MUST)


def _plain(value: Any) -> Any:
    return value.copy_to_dict() if hasattr(value, "copy_to_dict") else value


def plan_of(crawler: Crawler) -> Plan:
    """The plan of a crawler's addon; UsageError where its settings are wrong."""
    addon = next(each for each in crawler.addons.addons if isinstance(each, Addon))
    if addon.plan is None:
        raise UsageError(addon.problem)
    return addon.plan
