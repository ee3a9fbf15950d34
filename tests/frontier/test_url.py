"""frontier.url: canonical forms, what a URL belongs to, SURT, fingerprints, partitions."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier.tracking import NAMES, PREFIXES
from frontier.url import (
    InvalidUrl,
    Url,
    fingerprint,
    parse,
    partition,
    registered_domain,
    serialised,
)

# The same examples each time, and no verdict on how busy the machine is.

BASE = "https://Example.org:443/dir/page.html?q#frag"
SECRET = b"0123456789abcdef"

# (input, base, canonical). Reading per the WHATWG URL Standard, then what RFC 3986 6.2.2 allows.
CANONICAL = [
    ("https://example.org", None, "https://example.org/"),
    ("HTTP://EXAMPLE.ORG:80/A", None, "http://example.org/A"),
    ("https://example.org:443/", None, "https://example.org/"),
    ("https://example.org:80/", None, "https://example.org:80/"),
    ("http://f:00000000000080/c", None, "http://f/c"),
    ("https://example.org/#top", None, "https://example.org/"),
    ("https://example.org/a#b#c?d", None, "https://example.org/a"),
    ("https://user:pass@example.org/", None, "https://example.org/"),
    ("https://a@b@example.org/x@y", None, "https://example.org/x@y"),
    ("https://example.org\\@evil.net/", None, "https://example.org/@evil.net/"),
    ("http:\\\\example.org\\a\\b", None, "http://example.org/a/b"),
    ("http:////example.org//a", None, "http://example.org//a"),
    (" \thttps://exa\tmple.org/\na b \n", None, "https://example.org/a%20b"),
    ("https://example.org/a/./b/../c/%2e%2E/d", None, "https://example.org/a/d"),
    ("https://example.org/../../x", None, "https://example.org/x"),
    ("https://example.org/a?", None, "https://example.org/a?"),
    ("https://example.org/a?b=/../c", None, "https://example.org/a?b=/../c"),
    ("https://example.org./a", None, "https://example.org/a"),
    ("https://example.org../a", None, "https://example.org../a"),
    ("http://127.1../", None, "http://127.1../"),
    ("http://127.1./", None, "http://127.0.0.1/"),
    ("https://bücher.example/ü?ü=ß", None, "https://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%9F"),
    ("https://GO\u3002com/", None, "https://go.com/"),
    ("http://0x7f.1/", None, "http://127.0.0.1/"),
    ("http://2130706433/", None, "http://127.0.0.1/"),
    ("http://[0:0::1]:8080/", None, "http://[::1]:8080/"),
    ("http://[::ffff:1.2.3.4]/", None, "http://[::ffff:102:304]/"),
    # percent-encoding: unreserved decoded, the rest upper case, nothing else touched
    ("https://example.org/%7euser/%61%2d%5F", None, "https://example.org/~user/a-_"),
    ("https://example.org/%c3%a4%2f%3a", None, "https://example.org/%C3%A4%2F%3A"),
    ("https://example.org/?q=%7e%26", None, "https://example.org/?q=~%26"),
    ("https://example.org/%252e", None, "https://example.org/%252e"),
    ("https://example.org/100%/%61", None, "https://example.org/100%/%61"),
    ("https://example.org/%%34%31", None, "https://example.org/%%34%31"),
    # relative
    ("", BASE, "https://example.org/dir/page.html?q"),
    ("other", BASE, "https://example.org/dir/other"),
    ("/root", BASE, "https://example.org/root"),
    ("?x", BASE, "https://example.org/dir/page.html?x"),
    ("#y", BASE, "https://example.org/dir/page.html?q"),
    ("../..", BASE, "https://example.org/"),
    ("//cdn.example/x", BASE, "https://cdn.example/x"),
    ("https:other", BASE, "https://example.org/dir/other"),
    ("https://\ud800.example.org/\udfff", BASE, None),
    ("/\ud800", BASE, "https://example.org/%EF%BF%BD"),
]

INVALID = [
    ("", None, "empty URL"),
    ("  \n", None, "empty URL"),
    ("example.org", None, "no scheme"),
    ("/path", None, "no scheme"),
    ("mailto:a@example.org", None, "scheme is 'mailto'"),
    ("javascript:void(0)", BASE, "scheme is 'javascript'"),
    ("ftp://example.org/", None, "scheme is 'ftp'"),
    ("file:///etc/passwd", None, "scheme is 'file'"),
    ("data:text/html,x", BASE, "scheme is 'data'"),
    ("http://", None, "not a valid URL"),
    ("https://exa mple.org/", None, "not a valid URL"),
    ("http://example.org:99999/", None, "not a valid URL"),
    ("http://example.org:port/", None, "not a valid URL"),
    ("http://256.256.256.256/", None, "not a valid URL"),
    ("http://[::1/", None, "not a valid URL"),
    ("http://a<b>/", None, "not a valid URL"),
    ("x", "mailto:a@example.org", "not a valid URL"),
    ("https://" + "a." * 130 + "example/", None, "host name longer than 253"),
    ("https://example.org/" + "a" * 8_192, None, "longer than 8192"),
    ("https://example.org/" + "ä" * 4_000, None, "longer than 8192"),
]


@pytest.mark.parametrize(("text", "base", "canonical"), CANONICAL)
def test_canonical_form(text: str, base: str | None, canonical: str | None) -> None:
    if canonical is None:
        with pytest.raises(InvalidUrl):
            parse(text, base)
        return
    url = parse(text, base)
    assert url.url == canonical
    assert url.key == canonical  # none has a tracking parameter
    assert url.origin + url.path == canonical


@pytest.mark.parametrize(("text", "base", "message"), INVALID)
def test_invalid_urls_say_what_is_wrong(text: str, base: str | None, message: str) -> None:
    with pytest.raises(InvalidUrl, match=message):
        parse(text, base)


def test_length_is_that_of_the_canonical_form() -> None:
    fragment = "https://example.org/#" + "x" * 20_000
    assert parse(fragment).url == "https://example.org/"
    long = "https://example.org/" + "a" * 10_000
    assert parse(long, max_length=20_000).url == long


# (URL, host name, port, registered domain)
BELONGS = [
    ("https://www.example.org/", "www.example.org", 443, "example.org"),
    ("http://example.org:8080/", "example.org", 8080, "example.org"),
    ("http://a.b.example.co.uk/", "a.b.example.co.uk", 80, "example.co.uk"),
    ("https://x.someone.github.io/", "x.someone.github.io", 443, "someone.github.io"),
    ("https://github.io/", "github.io", 443, "github.io"),
    ("http://co.uk/", "co.uk", 80, "co.uk"),
    ("http://localhost:81/", "localhost", 81, "localhost"),
    ("http://a.intranet/", "a.intranet", 80, "a.intranet"),
    ("http://127.0.0.5:8080/", "127.0.0.5", 8080, "127.0.0.5"),
    ("http://[::1]/", "::1", 80, "::1"),
    ("http://[2001:db8::1]:81/", "2001:db8::1", 81, "2001:db8::1"),
    ("https://a.bücher.de/", "a.xn--bcher-kva.de", 443, "xn--bcher-kva.de"),
    ("https://a.食狮.公司.cn/", "a.xn--85x722f.xn--55qx5d.cn", 443, "xn--85x722f.xn--55qx5d.cn"),
]


@pytest.mark.parametrize(("text", "hostname", "port", "domain"), BELONGS)
def test_what_a_url_belongs_to(text: str, hostname: str, port: int, domain: str) -> None:
    url = parse(text)
    assert (url.hostname, url.port, url.domain) == (hostname, port, domain)
    assert url.scheme == text.partition(":")[0]
    name = f"[{hostname}]" if ":" in hostname else hostname
    assert url.host == (name if port in (80, 443) else f"{name}:{port}")


def test_http_and_https_are_one_host_but_two_origins() -> None:
    plain, secure = parse("http://example.org/"), parse("https://example.org/")
    assert plain.host == secure.host
    assert plain.origin != secure.origin
    assert plain != secure


def test_equal_and_hashed_by_canonical_form() -> None:
    assert len({parse("https://example.org/%7Ea"), parse("https://EXAMPLE.org/~a")}) == 1


def test_registered_domain_needs_no_scheme() -> None:
    assert registered_domain("a.b.example.com") == "example.com"


# (URL, key): what only tells who sent the visitor is no part of the identity.
KEYS = [
    ("https://a.example/", "https://a.example/"),
    ("https://a.example/?", "https://a.example/?"),
    ("https://a.example/?utm_source=x", "https://a.example/"),
    ("https://a.example/?utm_source", "https://a.example/"),
    ("https://a.example/p?utm_source=x&utm_medium=y#z", "https://a.example/p"),
    ("https://a.example/p?b=2&utm_campaign=x&a=1", "https://a.example/p?b=2&a=1"),
    ("https://a.example/p?b=2&gclid=x", "https://a.example/p?b=2"),
    ("https://a.example/p?fbclid=x=y&b", "https://a.example/p?b"),
    ("https://a.example/p?UTM_Source=x&ScCid=1&b", "https://a.example/p?b"),
    ("https://a.example/p?utm%5Fsource=x", "https://a.example/p"),
    ("https://a.example/p?&utm_source=x&", "https://a.example/p?&"),
    ("https://a.example/p?msclkid=1&b=%20&&c", "https://a.example/p?b=%20&&c"),
    # close, but something else
    ("https://a.example/p?gclidx=1", "https://a.example/p?gclidx=1"),
    ("https://a.example/p?xgclid=1", "https://a.example/p?xgclid=1"),
    ("https://a.example/p?q=utm_source=1", "https://a.example/p?q=utm_source=1"),
    ("https://a.example/p?q=?utm_source=1", "https://a.example/p?q=?utm_source=1"),
    ("https://a.example/utm_source=1", "https://a.example/utm_source=1"),
    (
        "https://a.example/p?utm=1&ref=a&source=b&sid=c",
        "https://a.example/p?utm=1&ref=a&source=b&sid=c",
    ),
    ("https://a.example/p?a;gclid=1", "https://a.example/p?a;gclid=1"),
]


@pytest.mark.parametrize(("text", "key"), KEYS)
def test_the_key_leaves_out_tracking_parameters(text: str, key: str) -> None:
    url = parse(text)
    assert url.key == key
    assert url.url == parse(text.replace("%5F", "_")).url  # what is fetched keeps them
    assert parse(url.key).key == key


@pytest.mark.parametrize("name", [*sorted(NAMES), *(f"{prefix}any" for prefix in PREFIXES)])
def test_every_name_on_the_list_is_left_out(name: str) -> None:
    assert parse(f"https://a.example/?a=1&{name}=x").key == "https://a.example/?a=1"


def test_serialised_keeps_what_the_standard_keeps() -> None:
    text = "HTTPS://user:pw@A.example.:443/x/../%7e?%c3#f"
    assert serialised(text) == "https://a.example./%7e?%c3"
    assert parse(text).url == "https://a.example/~?%C3"
    assert serialised("b", "http://a.example/a") == "http://a.example/b"
    with pytest.raises(InvalidUrl, match="scheme is 'ftp'"):
        serialised("ftp://a.example/")


def test_fingerprint_is_52_bits_keyed_and_stable() -> None:
    key = "https://example.org/"
    assert fingerprint(key, SECRET) == fingerprint(key, SECRET) < 2**52
    assert fingerprint(key, SECRET) != fingerprint(key, b"another")
    assert fingerprint(key, b"") == 1_948_878_216_062_315  # pinned: stored in every deployment
    assert max(fingerprint(f"{key}{n}", SECRET) for n in range(200)) > 2**51


def test_partition_is_pinned_and_even() -> None:
    assert [partition(name, 64) for name in ("example.org", "127.0.0.1", "")] == [31, 10, 0]
    counts = [0] * 64
    for number in range(6_400):
        counts[partition(f"site{number}.example", 64)] += 1
    assert min(counts) > 50
    assert statistics.pstdev(counts) < 20


URLS = st.one_of(
    st.text(max_size=60),
    st.builds(
        "http{}://{}{}".format,
        st.sampled_from(["", "s"]),
        st.from_regex(r"[a-zA-Z0-9.\-:@\[\]ü%]{1,20}", fullmatch=True),
        st.text(alphabet="/?#&=%27eE3aA.;\\ äß\t*$[]|'\"<>^`{}", max_size=40).map("/".__add__),
    ),
)


@given(URLS)
def test_parsing_is_total_and_idempotent(text: str) -> None:
    try:
        url = parse(text, BASE)
    except InvalidUrl:
        return
    assert parse(url.url) == url
    assert parse(url.url).path == url.path
    assert parse(url.key).key == url.key
    assert url.url.isascii()
    assert url.path.startswith("/")
    assert "#" not in url.url
    assert "@" not in url.host
    assert url.hostname.endswith(url.domain)
    assert url.surt.isascii()


@given(st.text(alphabet="/?&=%2aAfF7eE.~-", max_size=40))
def test_percent_spellings_of_unreserved_octets_are_one_url(path: str) -> None:
    url = parse(f"https://example.org/{path}")
    escaped = "".join(f"%{ord(char):02x}" if char in "aAfFeE~-" else char for char in url.path)
    if "%" not in url.path:
        assert parse(url.origin + escaped) == url


def test_url_is_immutable() -> None:
    url: Url = parse("https://example.org/")
    with pytest.raises(AttributeError):
        url.url = "x"  # type: ignore[misc]
