"""What is due is read from a real table: each visit's successor, in time, with bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from crawler.recrawl import Agenda, Before, Schedule
from crawler.worker import visited as module
from crawler.worker.visited import Mark, Visited, mark_of, read_mark
from storage.blob import BlobStore, StorageError, open_store
from storage.committer import Committer
from storage.segment import PageRecord, stage
from storage.table import PagesTable, page_id
from tests.storage.samples import LAYOUT, exchange, writer

HOUR = 3_600.0
PLAN = Schedule(None, HOUR, 100 * HOUR)
BASE = "http://h0.example/"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    opened = open_store(str(tmp_path / "out"))
    Committer(opened, LAYOUT).prepare()
    yield opened
    opened.close()


class Table:
    """Rows of visits into the table, a segment at a time."""

    def __init__(self, store: BlobStore, spool: Path) -> None:
        self.store, self.spool = store, spool

    def put(self, *visits: dict[str, Any]) -> int:
        """Commit visits as one segment; the table's version then."""
        segment = writer(self.spool, now=time.time())
        for n, given in enumerate(visits):
            payload = given.pop("payload", b"<p>text")
            raw = exchange(given["url"], payload, fetch_time=given["fetch_time"])
            row = {
                "kind": "page",
                "visit": 1,
                "depth": 1,
                "fetch_status": 200,
                "content_digest": raw.payload_digest,
                **given,
            }
            row["page_id"] = page_id("demo", row["url"], row["visit"])
            answered = raw if row["fetch_status"] is not None else None
            segment.append(PageRecord(row, fp=str(n), exchange=answered))
        done = segment.seal({str(n) for n in range(len(visits))})
        stage(self.store, done)
        Committer(self.store, LAYOUT).commit([done.manifest])
        return PagesTable(self.store, LAYOUT.table).snapshot().version


@pytest.fixture
def pages(store: BlobStore, tmp_path: Path) -> Table:
    return Table(store, tmp_path / "spool")


def reader(store: BlobStore, plan: Schedule = PLAN, mark: Mark | None = None) -> Visited:
    return Visited(store, LAYOUT, plan, lambda: True, mark)


def due(visited: Visited, now: float) -> list[tuple[str, int]]:
    """(path, visit) of all that is due, read as the sweeper does."""
    found: list[tuple[str, int]] = []
    with ThreadPoolExecutor(1) as pool:
        while True:
            reading = [pool.submit(visited.read, now)] if visited.wants(now) else []
            while (batch := visited.take(now)) or wait(reading, 0.01).not_done:
                found += [(each.url.removeprefix(BASE), each.visit) for each in batch]
            assert all(each.result() for each in reading)
            if not reading:
                return found


def page(path: str, at: float, **columns: Any) -> dict[str, Any]:
    return {"url": BASE + path, "fetch_time": at, "recrawl_interval": 2 * HOUR, **columns}


NOW = 1_790_000_000.0


def test_successors_come_when_their_interval_is_over(store: BlobStore, pages: Table) -> None:
    pages.put(
        page("a", NOW - 2 * HOUR - 1, etag='"e"', via="http://h0.example/from", hops=2),
        page("b", NOW - 2 * HOUR + 60),
        page("c", NOW - 20 * HOUR, recrawl_interval=None),  # as before there were recrawls
        page("d", NOW, recrawl_interval=1.0),  # the job's bounds of now
    )
    visited = reader(store)
    visited.read(NOW)
    [c, a] = sorted(visited.take(NOW))
    assert (c.url, a.url, a.visit, a.hops, a.via) == (BASE + "c", BASE + "a", 2, 2, BASE + "from")
    left = Before.of(a.extra)
    assert left is not None
    assert (left.etag, left.page, left.interval) == ('"e"', page_id("demo", a.url, 1), 2 * HOUR)
    assert left.fetched == NOW - 2 * HOUR - 1
    assert due(visited, NOW + 61) == [("b", 2)]
    assert due(visited, NOW + HOUR) == [("d", 2)]
    assert due(visited, NOW + 1000 * HOUR) == []


def test_what_never_comes_again(store: BlobStore, pages: Table) -> None:
    pages.put(
        page("gone", NOW, fetch_status=410, reason="http-410"),
        page("poison", NOW, fetch_status=None, reason="poison"),
        page("robots.txt", NOW, kind="robots"),
        page("missing", NOW, fetch_status=404, reason="http-404"),
        page("dead", NOW, fetch_status=None, reason="refused"),
        page("same", NOW, kind="revisit", fetch_status=304, visit=7, revisit_of="x"),
        page("map", NOW, kind="sitemap", fetch_status=304, revisit_of="x"),
    )
    found = due(reader(store), NOW + 1000 * HOUR)
    assert sorted(found) == [("dead", 2), ("map", 2), ("missing", 2), ("same", 8)]


def test_a_fixed_interval_holds_for_old_rows_but_not_for_failures(
    store: BlobStore, pages: Table
) -> None:
    pages.put(
        page("a", NOW, recrawl_interval=50 * HOUR),
        page("bad", NOW, recrawl_interval=50 * HOUR, fetch_status=404, reason="http-404"),
    )
    visited = reader(store, Schedule(HOUR, HOUR, 100 * HOUR))
    assert due(visited, NOW + HOUR) == [("a", 2)]
    assert due(visited, NOW + 50 * HOUR) == [("bad", 2)]


def test_new_rows_are_taken_in_as_they_are_committed(store: BlobStore, pages: Table) -> None:
    visited = reader(store)
    assert due(visited, NOW) == []
    pages.put(page("late", NOW - 90 * HOUR))  # its time was over before it was committed
    assert due(visited, NOW + HOUR) == [("late", 2)]
    pages.put(page("late", NOW + HOUR, visit=2))
    assert due(visited, NOW + 3 * HOUR) == [("late", 3)]
    assert due(visited, NOW + 90 * HOUR) == []


def test_nothing_is_passed_over_where_little_is_held(
    store: BlobStore, pages: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "BATCH", 3)
    for n in range(4):
        pages.put(*(page(f"{n}-{m}", NOW + 60 * ((n * 17 + m * 7) % 40)) for m in range(20)))
    visited = Visited(store, LAYOUT, PLAN, lambda: True, agenda=Agenda(5))
    found = due(visited, NOW + 2 * HOUR + 20 * 60)
    late = page("late", NOW - HOUR)
    pages.put(late)
    found += due(visited, NOW + 2 * HOUR + 60 * 60)
    wanted = {f"{n}-{m}" for n in range(4) for m in range(20)} | {"late"}
    assert {path for path, _ in found} == wanted
    assert len(found) == len(wanted)
    assert len(visited.agenda) <= 10


def test_a_successor_goes_on_from_the_mark(store: BlobStore, pages: Table) -> None:
    pages.put(*(page(f"old{n}", NOW - 20 * HOUR - n) for n in range(5)))
    pages.put(page("next", NOW))
    first = reader(store)
    assert len(due(first, NOW)) == 5
    assert first.idle(NOW)
    mark = read_mark(msgspec.json.encode(mark_of(first, NOW)), PLAN)
    assert mark is not None
    pages.put(page("fresh", NOW - 20 * HOUR))  # due long before the mark, committed after it
    second = reader(store, mark=mark)
    assert sorted(due(second, NOW + 2 * HOUR)) == [("fresh", 2), ("next", 2)]


def merge(store: BlobStore) -> None:
    """Mark a row of each day: all its files are made into another one."""
    table = DeltaTable(PagesTable(store, LAYOUT.table).uri)
    table.optimize.compact()
    rows = table.to_pyarrow_table(columns=["page_id", "fetch_date"]).to_pylist()
    for row in {row["fetch_date"]: row for row in rows}.values():
        marks = {"page_id": [row["page_id"]], "cluster_id": ["c"], "is_representative": [True]}
        day = row["fetch_date"].isoformat()
        Committer(store, LAYOUT).mark(day, pa.table(marks), 100_000_000)


def test_files_that_a_merge_wrote_bring_only_what_is_new(store: BlobStore, pages: Table) -> None:
    pages.put(*(page(f"old{n}", NOW - 20 * HOUR - n) for n in range(5)), page("next", NOW))
    visited = reader(store)
    assert len(due(visited, NOW)) == 5
    mark = mark_of(visited, NOW)
    merge(store)
    assert due(visited, NOW + 1) == []
    pages.put(page("late", NOW - 20 * HOUR))
    merge(store)  # before the row was read in its own file
    assert sorted(due(visited, NOW + 2 * HOUR)) == [("late", 2), ("next", 2)]
    assert sorted(due(reader(store, mark=mark), NOW + 2 * HOUR)) == [("late", 2), ("next", 2)]
    lost = Mark(999, NOW, repr(PLAN))
    assert len(due(reader(store, mark=lost), NOW)) == 6  # the seen-filter knows what is offered


def test_nothing_is_passed_over_in_merged_files_where_little_is_held(
    store: BlobStore, pages: Table
) -> None:
    pages.put(*(page(str(n), NOW + 60 * n) for n in range(20)))
    visited = Visited(store, LAYOUT, PLAN, lambda: True, agenda=Agenda(5))
    found = due(visited, NOW + 2 * HOUR + 120)
    merge(store)
    found += due(visited, NOW + 2 * HOUR + 600)
    pages.put(page("late", NOW))
    merge(store)
    found += due(visited, NOW + 4 * HOUR)
    assert sorted(found) == sorted([*((str(n), 2) for n in range(20)), ("late", 2)])


def test_a_mark_of_another_schedule_or_of_a_lost_version_is_worthless(
    store: BlobStore, pages: Table
) -> None:
    pages.put(page("a", NOW))
    assert read_mark(b"", PLAN) is None
    assert read_mark(b'[1,2.0,"another"]', PLAN) is None
    assert read_mark(b"[1]", PLAN) is None
    lost = reader(store, mark=Mark(999, NOW + 90 * HOUR, repr(PLAN)))
    assert due(lost, NOW + 90 * HOUR) == [("a", 2)]


def test_a_table_that_is_gone_is_an_error_and_a_stop_is_none(
    store: BlobStore, pages: Table, tmp_path: Path
) -> None:
    pages.put(page("a", NOW))
    stopped = Visited(store, LAYOUT, PLAN, lambda: False)
    assert not stopped.read(NOW)
    (tmp_path / "out" / LAYOUT.table / "_delta_log").rename(tmp_path / "away")
    with pytest.raises(StorageError):
        reader(store).read(NOW)


def sitemap(path: str, at: float, *entries: tuple[str, float], **columns: Any) -> dict[str, Any]:
    body = "".join(
        f"<url><loc>{url if '//' in url else BASE + url}</loc>"
        f"<lastmod>{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(when))}</lastmod></url>"
        for url, when in entries
    )
    payload = f"<urlset>{body}<url><loc>{BASE}undated</loc></url></urlset>".encode()
    return page(path, at, kind="sitemap", payload=payload, **columns)


def test_a_sitemap_brings_pages_forward(store: BlobStore, pages: Table) -> None:
    other = "http://other.example/"
    pages.put(
        *(page(path, NOW - 50 * HOUR, recrawl_interval=99 * HOUR) for path in "abcd"),
        page("a", NOW - 10 * HOUR, visit=2, recrawl_interval=99 * HOUR),
        page("young", NOW - 60, recrawl_interval=99 * HOUR),
        {**page("", NOW - 50 * HOUR, recrawl_interval=99 * HOUR), "url": other},
    )
    visited = reader(store)
    assert due(visited, NOW) == []
    pages.put(
        sitemap(
            "map.xml",
            NOW,
            ("a", NOW - 20 * HOUR),  # visited since
            ("b", NOW - HOUR),
            ("c", NOW + 90 * 24 * HOUR),  # no date that can be meant
            ("d", NOW - 51 * HOUR),
            ("young", NOW - 1),  # visited a moment ago
            ("unknown", NOW),
            (other, NOW),  # not its own
            ("not a url at all://", NOW),
        )
    )
    assert due(visited, NOW + HOUR - 61) == [("b", 2)]
    assert not visited.idle(NOW + HOUR - 61)  # the sitemap is to be looked at again
    pages.put(page("b", NOW + HOUR - 50, visit=2, recrawl_interval=99 * HOUR))
    assert due(visited, NOW + HOUR) == [("young", 2)]
    assert visited.idle(NOW + HOUR)
    pages.put(page("young", NOW + HOUR, visit=2, recrawl_interval=99 * HOUR))
    assert due(visited, NOW + 3 * HOUR) == [("map.xml", 2)]


def test_a_sitemap_that_is_as_before_says_nothing_new(store: BlobStore, pages: Table) -> None:
    pages.put(page("a", NOW - 50 * HOUR, recrawl_interval=99 * HOUR))
    visited = reader(store)
    due(visited, NOW)
    entries = [("a", NOW)]
    pages.put(
        sitemap("304.xml", NOW, *entries, fetch_status=304, revisit_of="x"),
        sitemap("cut.xml", NOW, *entries, reason="truncated"),
    )
    assert due(visited, NOW + 1) == []
    assert visited.idle(NOW + 1)


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_sitemap_that_cannot_be_read_stops_nothing(
    store: BlobStore, pages: Table, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    pages.put(page("a", NOW - 50 * HOUR, recrawl_interval=99 * HOUR))
    pages.put(sitemap("map.xml", NOW, ("a", NOW)))
    for path in (tmp_path / "out").rglob("*.warc.gz"):
        path.unlink() if damage == "gone" else path.write_bytes(b"x" * path.stat().st_size)
    visited = reader(store)
    assert due(visited, NOW + HOUR) == []
    assert due(visited, NOW + 50 * HOUR) == [("map.xml", 2), ("a", 2)]
    assert "cannot read the stored sitemap" in caplog.text
