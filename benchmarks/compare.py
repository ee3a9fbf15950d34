"""What two crawlers got of one site, set against each other. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.references import FOLLOWED, References
from benchmarks.sites import Hit

HTML: Final = "text/html"


@dataclass(frozen=True, slots=True)
class Difference:
    """A URL that only one of the two has."""

    target: str  # path and query
    type: str  # media type
    only: str  # who has it: wget2 | comity
    why: str  # the class it belongs to
    explained: bool  # whether it is right that the other has it not
    example: str = ""  # a page that refers to it


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of fetched documents of one site."""

    site: str  # its name
    wget2: Mapping[str, str]  # target -> media type, status 200
    comity: Mapping[str, str]  # the same, as stored
    differences: tuple[Difference, ...]

    def count(self, whose: Mapping[str, str], media_type: str = HTML) -> int:
        """How many documents of a type one of them has."""
        return sum(each == media_type for each in whose.values())

    def both(self, media_type: str = HTML) -> int:
        """How many documents of a type both have."""
        return sum(self.wget2.get(t) == of == media_type for t, of in self.comity.items())

    def types(self) -> list[str]:
        """All media types, HTML first, then by how many documents have them."""
        counts = Counter(self.wget2.values()) + Counter(self.comity.values())
        return sorted(counts, key=lambda name: (name != HTML, -counts[name], name))

    @property
    def unexplained(self) -> list[Difference]:
        """The differences that nothing justifies."""
        return [d for d in self.differences if not d.explained]


def fetched(hits: Iterable[Hit]) -> dict[str, str]:
    """Target -> media type of what was answered with 200."""
    return {hit.target: hit.type for hit in hits if hit.status == 200}


def compare(
    site: str,
    wget2: Mapping[str, str],
    comity: Mapping[str, str],
    refer: Callable[[set[str], Mapping[str, str]], References],
    answers: Mapping[str, str],
) -> Comparison:
    """Explain every difference.

    ``refer`` finds references to targets in pages; ``answers``: targets that were asked for and not
    had, with what came instead.
    """
    differences = [
        *_explained("wget2", wget2, comity, refer, answers),
        *_explained("comity", comity, wget2, refer, answers),
    ]
    return Comparison(site, wget2, comity, tuple(differences))


def _explained(
    who: str,
    having: Mapping[str, str],
    lacking: Mapping[str, str],
    refer: Callable[[set[str], Mapping[str, str]], References],
    answers: Mapping[str, str],
) -> Iterator[Difference]:
    """What one of them has and the other lacks.

    It is right to lack what no link leads to: none on the pages that one has. References on pages
    that one has not either are consequences of differences that are listed themselves.
    """
    other = "Comity" if who == "wget2" else "wget2"
    wanted = having.keys() - lacking.keys()
    near = refer(wanted, lacking)
    far = refer(
        wanted - near.keys(), {page: of for page, of in having.items() if page not in lacking}
    )
    for target in sorted(wanted):
        kinds = near.get(target) or far.get(target) or {}
        links = sorted(kinds.keys() & FOLLOWED[other])
        if target in answers:
            why, explained = f"{other} asked and got {answers[target]}", False
        elif not kinds:
            why, explained = "nothing refers to it", False
        elif target not in near:
            why, explained = f"only what {other} has not refers to it: {_listed(kinds)}", True
        elif links:
            why, explained = f"a link that {other} did not follow: {_listed(links)}", False
        else:
            why, explained = f"no link of those {other} follows: {_listed(kinds)}", True
        example = kinds[next(iter(links or kinds))] if kinds else ""
        yield Difference(target, having[target], who, why, explained, example)


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(kinds))
