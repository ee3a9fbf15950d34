"""The invariants, as they must hold between the model and the keys after every step."""

from __future__ import annotations

from collections import Counter

from frontier.model import FrontierStats
from tests.frontier.fleet import Fleet
from tests.frontier.model import Key, Model
from tests.frontier.reality import Reality, Store, fp_of


def judge(fleet: Fleet) -> None:
    """All invariants that the keys show."""
    model, store, real = fleet.model, fleet.store, fleet.look()
    _one_holder(model, real)
    _one_place(model, real, store)
    for job in fleet.limits:
        _counted(job, model, real, store)
        _told(job, fleet, real, fleet.runner.run(fleet.frontier.stats(job)))
    _spilled(real, store)
    _bounded(fleet, real)
    _expected(fleet, real)
    for segment in model.fenced:
        marks = [text[:1] for (_, name), text in real.fences.items() if name == segment]
        assert marks == ["x", "x", "x"], f"{segment} is fenced no more: {marks}"


def _one_holder(model: Model, real: Reality) -> None:
    held = {host: (at.job, at.token, at.deadline) for host, at in model.held.items()}
    found = {host: (h["j"], int(h["k"]), int(h["x"])) for host, h in real.hosts.items() if "k" in h}
    assert found == held
    assert real.deadlines == {host: at.deadline for host, at in model.held.items()}
    clocks = {host: int(h["t"]) for host, h in real.hosts.items() if "t" in h}
    assert clocks == {host: t for host, t in model.clock.items() if t}


def _one_place(model: Model, real: Reality, store: Store) -> None:
    at_rest: Counter[Key] = Counter(real.waiting)
    at_rest.update((job, fp_of(entry)) for _, job, _, entry in real.entries(store))
    assert at_rest == +model.rest
    leased = {host: Counter(fps) for host, fps in real.leased.items()}
    assert leased == {
        host: Counter(fp for _, fp in at.urls) for host, at in model.held.items() if at.urls
    }
    pending = {segment: Counter(told) for segment, told in model.pending.items() if told}
    assert real.pending == pending


def _counted(job: str, model: Model, real: Reality, store: Store) -> None:
    found: Counter[str] = Counter()
    for place, its, _, _ in real.entries(store):
        found[place] += its == job
    counted = real.counters[job]
    assert counted["queued"] == found["queued"]
    assert counted["spilled"] == found["buffer"] + found["stored"] + found["aside"]
    assert counted["quarantined"] == found["aside"]
    assert counted["leased"] == sum(len(at.urls) for at in model.held.values() if at.job == job)
    mine = [told for segment, told in real.pending.items() if segment.split("-")[1] == job]
    assert counted["pending"] == sum(told.total() for told in mine)
    assert counted["waiting"] == sum(n for key, n in real.waiting.items() if key[0] == job)
    seen = {key: 1 for key in model.host if key[0] == job}
    assert {key: n for key, n in real.seen.items() if key[0] == job} == seen


def _told(job: str, fleet: Fleet, real: Reality, stats: FrontierStats) -> None:
    model = fleet.model
    assert stats.accepted == model.accepted[job]
    assert stats.seen == model.known[job]
    assert stats.refetched == model.refetched[job]
    ended = {reason: n for (its, reason), n in model.finished.items() if its == job}
    assert stats.done == ended.pop("", 0)
    assert {reason: n for reason, n in stats.dropped.items() if n} == ended
    assert stats.finished == stats.done + sum(ended.values())
    parts = stats.queued + stats.leased + stats.pending + stats.waiting + stats.spilled
    assert stats.accepted == parts + stats.finished
    assert sum(stats.demoted.values()) == fleet.demoted[job]
    scores = [at for (its, _), found in real.ready.items() if its == job for _, at in found]
    if scores:
        assert stats.next_ready is not None
        assert stats.next_ready <= max(0, min(scores) - model.now) / 1000


def _spilled(real: Reality, store: Store) -> None:
    away: Counter[tuple[str, str]] = Counter()
    for place, job, host, _ in real.entries(store):
        away[job, host] += place in {"buffer", "stored"}
    assert {place: n for place, n in away.items() if n} == {
        place: by_class.total() for place, by_class in real.away.items()
    }
    left: Counter[str] = Counter()
    aside = [text.split("\n")[2] for texts in real.aside.values() for text in texts]
    for cursor in [c for found in real.cursors.values() for c in found] + aside:
        segment, total, consumed = cursor.split("\t")
        left[segment] += int(total) - int(consumed)
    assert real.left == {segment: n for segment, n in left.items() if n}


def _bounded(fleet: Fleet, real: Reality) -> None:
    for (job, host), by_class in real.queues.items():
        fps = [fp_of(entry) for entries in by_class.values() for entry in entries]
        added = sum((job, fp) in fleet.model.order for fp in fps)
        # A refill whose room was taken by others meanwhile comes on top.
        most = fleet.limits[job].host_cap * (1 + ((job, host) in fleet.crowded))
        assert added <= most, f"{added} URLs of {host} are queued"
    for (_, job), items in real.buffers.items():
        assert len(items) <= fleet.limits[job].buffer


def _expected(fleet: Fleet, real: Reality) -> None:
    """Hosts with URLs are where lease looks, in time; slow ones apart; others nowhere."""
    model = fleet.model
    classes: dict[tuple[str, str], set[int]] = {}
    for place, by_class in real.queues.items():
        classes.setdefault(place, set()).update(by_class)
    for place, spilled in real.away.items():
        classes.setdefault(place, set()).update(spilled)
    for (job, host), some in classes.items():
        found = real.ready[job, host]
        held = model.held.get(host)
        kinds = [kind for kind, _ in found]
        if held and held.job == job:
            continue  # it is looked at when the lease ends
        assert kinds == ["rs" if some == {3} else "r"], f"{job} {host} {some}: {kinds}"
        latest = max(model.now, fleet.ready(host)) + 1_500
        assert found[0][1] <= max(latest, held.deadline if held else 0), f"{job} {host} sleeps"
    nothing = {place for place, found in real.ready.items() if found} - classes.keys()
    assert not nothing, f"without URLs: {nothing}"
