"""What the comparison on real pages came to: judged, and put into words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.compare import HTML, Comparison, Difference
from benchmarks.machine import Cost
from benchmarks.sites import Hit, overlaps
from benchmarks.warcs import WarcReport

JUDGED: Final = 0.9  # of the HTML pages stored, what wget2 must have for it to be a judge


@dataclass(frozen=True, slots=True)
class Manners:
    """How a crawler behaved towards one site, from the site's log."""

    requests: int  # all of them
    overlapping: int  # began before an earlier one had ended
    repeated: int  # for a URL that had been asked for before
    connections: int  # that were opened
    statuses: dict[int, int]  # HTTP status -> requests

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> Manners:
        """Count over a log."""
        return cls(
            requests=len(hits),
            overlapping=overlaps(hits),
            repeated=len(hits) - len({hit.target for hit in hits}),
            connections=len({hit.connection for hit in hits}),
            statuses=dict(sorted(Counter(hit.status for hit in hits).items())),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that is reported."""

    versions: dict[str, str]  # of the tools and packages
    machine: dict[str, Any]  # where it ran
    wget2: Cost
    comity: Cost
    summary: dict[str, Any]  # what `comity crawl --json` said
    comparisons: list[Comparison]  # a site each
    wget2_manners: dict[str, Manners]  # by site
    comity_manners: dict[str, Manners]  # by site
    altered: list[str]  # stored pages whose payload is not the file that was served
    copies: int  # stored pages, less the different files that were served for them
    unstored: list[str]  # URLs that the log says Comity had an answer for and that have no row
    warcs: WarcReport

    @property
    def stored(self) -> int:
        """Pages with status 200 and a WARC record, in the table."""
        return sum(len(c.comity) for c in self.comparisons)

    def faults(self) -> list[str]:
        """What does not hold, a line each."""
        faults = [
            f"{c.site}: {d.target} ({d.type}): only {d.only} has it: {d.why}"
            + (f" (on {d.example})" if d.example else "")
            for c in self.comparisons
            for d in c.unexplained
        ]
        for c in self.comparisons:
            judged, stored = c.both(), c.count(c.comity)
            if judged < JUDGED * stored or not stored:
                faults.append(f"{c.site}: wget2 judges {judged} of {stored} pages: too few")
        if not any(manners.overlapping for manners in self.wget2_manners.values()):
            faults.append("wget2's threads do not overlap in the log, so it would not show ours")
        for site, manners in self.comity_manners.items():
            if manners.overlapping:
                faults.append(f"{site}: {manners.overlapping} requests overlapped")
            if manners.repeated:
                faults.append(f"{site}: {manners.repeated} URLs were asked for again")
        faults += [f"{url}: the stored payload is not what was served" for url in self.altered]
        faults += [f"{url}: answered and in no row" for url in self.unstored]
        faults += self.warcs.faults()
        for name, counted in (("pages", self.stored), ("duplicates", self.copies)):
            if self.summary[name] != counted:
                faults.append(f"the summary counts {self.summary[name]} {name}, not {counted}")
        return faults

    def markdown(self) -> str:
        """Tables for people."""
        faults = self.faults()
        verdict = "No faults: every difference is explained and every check holds."
        return "\n\n".join(
            [
                table(
                    ("site", "wget2", "Comity", "both", "only wget2", "only Comity"), self._sets()
                ),
                table(("only", "type", "why", "URLs", "example", "found on"), self._classes()),
                table(
                    (
                        "crawler",
                        "answers",
                        "overlapping",
                        "seconds",
                        "CPU s",
                        "200s per CPU s",
                        "MB",
                    ),
                    self._costs(),
                ),
                table(("check", "found", "expected"), self._checks()),
                "\n".join(["Faults:", "", *(f"- {f}" for f in faults)]) if faults else verdict,
            ]
        )

    def record(self) -> dict[str, Any]:
        """The same for programs: plain types."""
        warcs = self.warcs
        return {
            "benchmark": "real_input",
            "versions": self.versions,
            "machine": self.machine,
            "pages": self.stored,
            "bytes": self.summary["bytes"],
            "seconds": round(self.comity.seconds, 2),
            "cpu_seconds": round(self.comity.cpu_seconds, 2),
            "sites": {c.site: _site_record(c) for c in self.comparisons},
            "differences": [
                {"only": only, "type": of, "why": why, "urls": urls}
                for (only, of, why), urls, _ in self._groups()
            ],
            "wget2": _cost_record(self.wget2),
            "comity": _cost_record(self.comity) | {"summary": self.summary},
            "manners": {
                "wget2": {site: asdict(each) for site, each in self.wget2_manners.items()},
                "comity": {site: asdict(each) for site, each in self.comity_manners.items()},
            },
            "warc": {
                "files": warcs.files,
                "bytes": warcs.bytes,
                "records": dict(warcs.records),
                "rows": warcs.rows,
                "bad": len(warcs.faults()),
            },
            "faults": len(self.faults()),
        }

    def _sets(self) -> Iterator[Sequence[object]]:
        for c in self.comparisons:
            for name, is_html in (("HTML", True), ("other types", False)):
                theirs = {t for t, of in c.wget2.items() if (of == HTML) is is_html}
                ours = {t for t, of in c.comity.items() if (of == HTML) is is_html}
                counts = (len(theirs), len(ours), len(theirs & ours))
                yield f"{c.site}: {name}", *counts, len(theirs - ours), len(ours - theirs)

    def _groups(self) -> list[tuple[tuple[str, str, str], int, Difference]]:
        """Differences by class, with how many there are and one of them."""
        counts: Counter[tuple[str, str, str]] = Counter()
        one: dict[tuple[str, str, str], Difference] = {}
        for c in self.comparisons:
            for d in c.differences:
                key = (d.only, d.type, d.why)
                counts[key] += 1
                one.setdefault(key, d)
        return [(key, count, one[key]) for key, count in counts.most_common()]

    def _classes(self) -> Iterator[Sequence[object]]:
        for (only, of, why), count, one in self._groups():
            yield only, of, why, count, f"`{one.target}`", f"`{one.example}`" if one.example else ""

    def _costs(self) -> Iterator[Sequence[object]]:
        for name, cost, manners in (
            ("wget2", self.wget2, self.wget2_manners),
            ("Comity", self.comity, self.comity_manners),
        ):
            statuses: Counter[int] = Counter()
            for each in manners.values():
                statuses.update(each.statuses)
            answers = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            rate = statuses[200] / cost.cpu_seconds
            numbers = (cost.seconds, cost.cpu_seconds, rate, cost.peak_mb)
            overlapping = sum(each.overlapping for each in manners.values())
            yield name, answers, overlapping, *(f"{number:,.1f}" for number in numbers)

    def _checks(self) -> Iterator[Sequence[object]]:
        warcs, ours = self.warcs, self.comity_manners.values()
        yield "pages stored, 200, with a WARC record", self.stored, self.summary["pages"]
        yield "pages whose payload an earlier one had", self.summary["duplicates"], self.copies
        yield "overlapping requests per site", sum(m.overlapping for m in ours), 0
        yield "URLs asked for twice", sum(m.repeated for m in ours), 0
        yield "answers in no row", len(self.unstored), 0
        yield "pages unlike the file that was served", len(self.altered), 0
        types = ", ".join(f"{count} {of}" for of, count in sorted(warcs.records.items()))
        yield f"WARC files ({types}) refused by `warcio check`", len(warcs.bad_files), 0
        yield "WARC records without a digest", warcs.bad_records.total(), 0
        yield f"rows, of {warcs.rows}, whose record is not theirs", len(warcs.bad_rows), 0


def _site_record(c: Comparison) -> dict[str, dict[str, int]]:
    return {
        name: {
            "wget2": c.count(c.wget2, name),
            "comity": c.count(c.comity, name),
            "both": c.both(name),
        }
        for name in c.types()
    }


def _cost_record(cost: Cost) -> dict[str, float]:
    return {
        "seconds": round(cost.seconds, 2),
        "cpu_seconds": round(cost.cpu_seconds, 2),
        "peak_mb": round(cost.peak_mb),
    }


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines: list[Iterable[object]] = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
