"""The worker: a Scrapy process that leases hosts, fetches politely and stores what it gets.

The pieces, in the order a page meets them: ``leasing`` asks the frontier for hosts, ``turn`` lives
one lease, ``hold`` is the right to contact one host, ``robots`` what its robots.txt says,
``scheduler`` and ``spider`` pass requests and responses through Scrapy, ``pipelines`` makes a
response a page, ``links`` sends its links to the frontier, ``segments`` makes it durable,
``ending`` sees when a job is over. ``addon`` is the same inside a project of somebody else's.
"""

import signal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crawler.worker.addon import Addon

__all__ = ["STOPPED", "Addon", "ending_signals"]

STOPPED: Final = "stopped: "  # what a worker says before the reason why it cannot go on


def ending_signals() -> list[signal.Signals]:
    """Those that ask for a drain; a hang-up does not where it is ignored, as under nohup."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def __getattr__(name: str) -> Any:
    """``crawler.worker.Addon``, for Scrapy projects alone: nobody else loads what it takes."""
    if name == "Addon":
        from crawler.worker.addon import Addon

        return Addon
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
