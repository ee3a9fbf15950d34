"""What follows from what a site says about the use of its content. Pure.

TABLE is the one place where each signal has its effect. Kept here: of several statements the most
restrictive is in force; what a job honours has its effect, what it flags or ignores is recorded all
the same; nothing that a page says can make the record of it large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal, cast

from crawler.signals import Statement, date_of

Policy = Literal["honour", "flag", "ignore"]
POLICIES: Final = ("honour", "flag", "ignore")
MOST: Final = 64  # statements that are recorded of a page

# withhold: the content is not kept; image: it is not, where it is an image; nofollow: no link of it
# is followed; none: recorded, nothing else follows.
Effect = Literal["withhold", "image", "nofollow", "none"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a signal means when it is honoured."""

    effect: Effect
    restricts: str = ""  # the value that has the effect; "" for directives, which have none


_DENIED: Final = Rule("withhold", "n")
_NOTED: Final = Rule("none")

# In the order in which the reason for not keeping a page is named.
TABLE: Final[Mapping[str, Rule]] = {
    "noindex": Rule("withhold"),
    "noarchive": Rule("withhold"),
    "noai": Rule("withhold"),
    "train-ai": _DENIED,
    "ai-use": _DENIED,
    "search": _DENIED,
    "bots": _DENIED,
    "tdm-reservation": Rule("withhold", "1"),
    "noimageai": Rule("image"),
    "noimageindex": Rule("image"),
    "nofollow": Rule("nofollow"),
    # about how results are shown, which is not ours to do; a date that has passed is a noindex
    "nosnippet": _NOTED,
    "notranslate": _NOTED,
    "nositelinkssearchbox": _NOTED,
    "unavailable_after": _NOTED,
    # terms to read, and what could not be read
    "tdm-policy": _NOTED,
    "license": _NOTED,
    "content-usage": _NOTED,
    "content-signal": _NOTED,
}


@dataclass(frozen=True, slots=True)
class Policies:
    """What a job does about each signal."""

    default: Policy = "honour"
    named: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, name: str) -> Policy:
        """The policy for a signal."""
        return self.named.get(name, self.default)

    @staticmethod
    def parse(given: object) -> Policies:
        """From text (``honour noai=ignore``), a list of such, or a table with a key ``default``.

        Of what contradicts itself the last holds. ValueError names what is wrong.
        """
        default: Policy = "honour"
        named: dict[str, Policy] = {}
        for name, policy in _pairs(given):
            if policy not in POLICIES:
                raise ValueError(f"should be honour, flag or ignore, not {policy!r}")
            if name == "default":
                default = cast(Policy, policy)
            elif name in TABLE:
                named[name] = cast(Policy, policy)
            else:
                near = get_close_matches(name, TABLE, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(TABLE)}"
                raise ValueError(f"no signal {name!r}; {hint}")
        return Policies(default, named)

    def spelt(self) -> tuple[str, ...]:
        """The same as ``parse`` reads it."""
        return (self.default, *(f"{name}={policy}" for name, policy in sorted(self.named.items())))


def _pairs(given: object) -> Iterator[tuple[str, str]]:
    if isinstance(given, str):
        for word in given.replace(",", " ").split():
            name, equals, policy = word.partition("=")
            yield (name.lower(), policy.lower()) if equals else ("default", name.lower())
    elif isinstance(given, Mapping):
        for name, policy in given.items():
            yield str(name).lower(), str(policy).lower()
    elif isinstance(given, list | tuple):
        for item in given:
            yield from _pairs(str(item))
    else:
        raise ValueError(f"should be text or a table, not {given!r}")  # noqa: TRY004 - as pydantic


def consequence(name: str, value: str, policies: Policies) -> str:
    """In words: what a job does about a page for which a signal is in force with this value."""
    rule, policy = TABLE[name], policies.of(name)
    if value != (rule.restricts or value):
        return "forbids nothing"
    if policy == "ignore":
        return "ignored"
    return _CONSEQUENCES[rule.effect] if policy == "honour" else "kept, flagged"


_CONSEQUENCES: Final[Mapping[Effect, str]] = {
    "withhold": "not kept",
    "image": "images not kept, else flagged",
    "nofollow": "links not followed",
    "none": "flagged",
}


@dataclass(frozen=True, slots=True)
class Consent:
    """One page's signals: what was said, what is in force, and what follows in this job."""

    stated: tuple[Statement, ...] = ()  # at most MOST; those that decide are among them
    in_force: Mapping[str, str] = field(default_factory=dict)  # signal -> value, in TABLE's order
    honoured: tuple[str, ...] = ()  # signals that had their effect
    flagged: tuple[str, ...] = ()  # in force, recorded, without effect; ignored ones are left out

    @property
    def withheld(self) -> str:
        """The reason code for not keeping the content; "" when it is kept."""
        first = next((name for name in self.honoured if TABLE[name].effect != "nofollow"), "")
        return f"signal-{first}" if first else ""

    @property
    def nofollow(self) -> bool:
        """Whether no link of the page is to be followed."""
        return "nofollow" in self.honoured

    def record(self) -> dict[str, Any] | None:
        """As it is stored; None where nothing was said."""
        if not self.stated:
            return None
        return {
            "stated": self.stated,
            "in_force": self.in_force,
            "honoured": self.honoured,
            "flagged": self.flagged,
        }


SILENCE: Final = Consent()  # nothing was said


def judge(
    statements: Iterable[Statement], policies: Policies, *, now: float, image: bool = False
) -> Consent:
    """What follows from all that was said; ``now``: unix time of the fetch, for dates."""
    stated = tuple(statements)
    if not stated:
        return SILENCE
    deciding = _deciding(stated, now)
    in_force = {name: deciding[name][0] for name in TABLE if name in deciding}
    honoured = tuple(
        name
        for name, value in in_force.items()
        if policies.of(name) == "honour" and _acts(TABLE[name], value, image=image)
    )
    flagged = tuple(
        name
        for name, value in in_force.items()
        if name not in honoured
        and policies.of(name) != "ignore"
        and value == (TABLE[name].restricts or value)
    )
    first = {statement for _, statement in deciding.values()}
    return Consent(_bounded(stated, first), in_force, honoured, flagged)


def _acts(rule: Rule, value: str, *, image: bool) -> bool:
    if rule.effect == "none" or (rule.effect == "image" and not image):
        return False
    return value == rule.restricts


def _deciding(stated: tuple[Statement, ...], now: float) -> dict[str, tuple[str, Statement]]:
    """Signal -> its value in force and the first statement that says so."""
    found: dict[str, tuple[str, Statement]] = {}
    for statement in stated:
        name, value = statement.name, statement.value
        if name == "unavailable_after" and (when := date_of(value)) is not None and when <= now:
            name, value = "noindex", ""
        known = found.get(name)
        if known is None or (value == TABLE[name].restricts and value != known[0]):
            found[name] = value, statement
    return found


def _bounded(stated: tuple[Statement, ...], first: set[Statement]) -> tuple[Statement, ...]:
    """Each statement once, in order; too many: those that decide, then the earliest."""
    every = tuple(dict.fromkeys(stated))
    if len(every) <= MOST:
        return every
    others = [statement for statement in every if statement not in first]
    kept = first.union(others[: MOST - len(first)])
    return tuple(statement for statement in every if statement in kept)
