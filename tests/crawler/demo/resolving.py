"""URL resolution by another project's WHATWG implementation (ada), for the tests here."""

import ada_url


def resolve(base: str, href: str) -> str:
    """The canonical URL of a link, fragment and user information dropped; "" if it is invalid."""
    try:
        parsed = ada_url.URL(href, base=base)
    except ValueError:
        return ""
    parsed.hash = ""
    if parsed.protocol in ("http:", "https:"):
        parsed.username = parsed.password = ""
    return str(parsed.href)
