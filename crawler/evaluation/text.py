"""How well main text is told from the rest of a page, on annotated pages of our own. Pure.

Real pages are ``benchmarks/main_text.py``'s business.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from crawler.evaluation.layouts import LAYOUTS, pages
from crawler.maintext import Mode, main_text, token_f1

MODES: Final[tuple[Mode, ...]] = ("fast", "precise")


def evaluate() -> dict[str, float]:
    """Mean F1 of tokens (0..1) by mode and layout, and over all: ``fast_article`` ... ``fast``."""
    figures: dict[str, float] = {}
    annotated = list(pages())
    for mode in MODES:
        reached: dict[str, list[float]] = defaultdict(list)
        for page in annotated:
            found = main_text(page.html, LexborHTMLParser(page.html), mode) or ""
            reached[page.layout].append(token_f1(found, page.main))
        for layout in LAYOUTS:
            figures[f"{mode}_{layout.replace(' ', '_')}"] = fmean(reached[layout])
        figures[mode] = fmean(f1 for each in reached.values() for f1 in each)
    return figures
