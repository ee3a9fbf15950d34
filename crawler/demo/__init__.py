"""A deterministic many-host web on loopback, with its ground truth: for demos, tests, benchmarks.

`DemoServer` serves it, `truth` says what a correct crawl of it does, `judge` compares the server's
log with that. ``python -m crawler.demo`` runs it as a process of its own.
"""

from crawler.demo.build import SIZES, build
from crawler.demo.judge import Report, judge
from crawler.demo.log import Entry, read
from crawler.demo.model import DemoError, Web
from crawler.demo.policy import Policy, parse
from crawler.demo.server import DemoServer
from crawler.demo.serving import serve
from crawler.demo.truth import truth

__all__ = [
    "SIZES",
    "DemoError",
    "DemoServer",
    "Entry",
    "Policy",
    "Report",
    "Web",
    "build",
    "judge",
    "parse",
    "read",
    "serve",
    "truth",
]
