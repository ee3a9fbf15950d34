"""What the benchmark of near-duplicates came to, in tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks.near_costs import Cost
from benchmarks.near_quality import NATURAL, Quality, added
from benchmarks.report import table
from crawler.evaluation.changes import BINS, FIRST, WAYS, WIDTH
from crawler.evaluation.duplicates import LIKELY, SURE, Counts

_FIGURES: Final = ("J >= 0.9", "0.85 to 0.9", "precision")


def markdown(qualities: Sequence[Quality], costs: Sequence[Cost], faults: Sequence[str]) -> str:
    """Everything for people."""
    parts = [*_quality(qualities)] if qualities else []
    if costs:
        head = ("what", "who", "a page", "unit", "target", "CPU of the server, ms")
        parts.append(table(head, map(_cost, costs)))
    listed = "\n".join(["Faults:", "", *(f"- {fault}" for fault in faults)])
    return "\n\n".join([*parts, listed if faults else "All targets are met."])


def _quality(qualities: Sequence[Quality]) -> Iterator[str]:
    languages = [each.language for each in qualities]
    for name, counts in (
        ("made", [each.changed for each in qualities]),
        (NATURAL, [each.counts[NATURAL] for each in qualities]),
    ):
        yield f"Share called near-duplicates, of so many {name} pairs, by true similarity:"
        yield table(("J", *languages), _bins(counts))
    head = ("language", "pages", *_FIGURES, *(f"natural {figure}" for figure in _FIGURES), "unlike")
    yield table(head, map(_language, qualities))
    yield table(("way", "pairs", *_FIGURES), _ways(qualities))


def _bins(counts: Sequence[Counts]) -> Iterator[Iterable[str]]:
    below = ("below", range(FIRST))
    for name, bins in (below, *((f"{n * WIDTH:.2f}", range(n, n + 1)) for n in range(FIRST, BINS))):
        pairs = [sum(each.pairs[number] for number in bins) for each in counts]
        if any(pairs):
            recalls = [each.recall(bins) for each in counts]
            yield name, *map(_share, recalls, pairs)


def _share(share: float | None, of: int) -> str:
    return "-" if share is None else f"{share:.1%} of {of:,}"


def _language(quality: Quality) -> Iterator[str]:
    yield from (quality.language, f"{quality.pages:,}")
    yield from _figures(quality.changed)
    yield from _figures(quality.counts[NATURAL])
    yield str(quality.unlike)


def _figures(counts: Counts) -> Iterator[str]:
    for figure in (counts.recall(SURE), counts.recall(LIKELY), counts.precision()):
        yield "-" if figure is None else f"{figure:.4f}"


def _ways(qualities: Sequence[Quality]) -> Iterator[Iterable[str]]:
    for way in (*(way.__name__ for way in WAYS), NATURAL):
        counts = added(each.counts[way] for each in qualities if way in each.counts)
        pairs = sum(counts.pairs[number] for number in range(FIRST, BINS))
        yield way, f"{pairs:,}", *_figures(counts)


def _cost(cost: Cost) -> Iterator[str]:
    yield from (
        cost.what,
        cost.who,
        f"{cost.number:,.3g}" if cost.number < 100 else f"{cost.number:,.0f}",
    )
    yield from (cost.unit, str(cost.most or ""))
    yield "" if cost.server is None else f"{cost.server:.3f}"


def record(
    qualities: Sequence[Quality], costs: Sequence[Cost], faults: Sequence[str]
) -> dict[str, Any]:
    """The same for programs: plain types."""
    return {
        "quality": {each.language: _quality_record(each) for each in qualities},
        "costs": [asdict(cost) for cost in costs],
        "faults": list(faults),
    }


def _quality_record(quality: Quality) -> dict[str, Any]:
    return {
        "pages": quality.pages,
        "unlike": quality.unlike,
        "ways": {
            way: {
                "pairs": [counts.pairs[number] for number in range(BINS)],
                "called": [counts.called[number] for number in range(BINS)],
            }
            for way, counts in quality.counts.items()
        },
    }
