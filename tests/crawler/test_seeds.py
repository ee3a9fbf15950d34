import gzip
import io
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from crawler.job import JobSpec, UsageError
from crawler.seeds import MAX_LINE, iter_seeds, parse_seed, prepared, read_seeds

A, B = "https://a.example.org/", "https://b.example.org/x?y=1"


def write(tmp_path: Path, name: str, data: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def error(name: str) -> str:
    with pytest.raises(UsageError) as caught:
        list(read_seeds(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("https://example.org", "https://example.org/"),
            ("  HTTP://Example.ORG/a  ", "http://example.org/a"),
            ("example.org", "https://example.org/"),
            ("example.org/a?u=http://b/", "https://example.org/a?u=http://b/"),
            ("example.org:8443/x", "https://example.org:8443/x"),
            ("localhost:8000", "http://localhost:8000/"),
            ("10.0.0.7/x", "http://10.0.0.7/x"),
            ("8.8.8.8", "https://8.8.8.8/"),
            ("[::1]:8080/", "http://[::1]:8080/"),
            ("shop.test", "http://shop.test/"),
        ],
    )
    def test_urls_and_bare_names(self, text: str, url: str) -> None:
        assert parse_seed(text) == url

    @pytest.mark.parametrize(
        "text",
        ["", "foo bar", "foo", "1.5", "12345", "ftp://example.org/", "mailto:me@example.org",
         "javascript:alert(1)", "http://", "https://a b/", "http://a/ http://b/",
         "http://example.org/\x00", "http://example.org/\u202e", "https://example.org:99999/",
         "/etc/passwd", "?", "me@example.org", "..", "file:///etc/passwd"],
    )  # fmt: skip
    def test_what_is_no_url_is_refused_in_one_line(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_seed(text)
        assert str(caught.value).startswith("not a URL: ")
        assert str(caught.value).isprintable()

    def test_a_long_one_is_cut_in_the_message(self) -> None:
        with pytest.raises(UsageError) as caught:
            parse_seed("x y" * 10_000)
        assert len(str(caught.value)) < 200


class TestForms:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("s.txt", f"# list\n\n{A}\n  {B}  \n"),
            ("s.txt", f"\ufeff{A}\r\n{B}"),
            ("s", f"{A}\n{B}\n"),
            ("s.urls", f"{A}\n{B}\n"),
            ("s.csv", f"{A},first\n{B},second\n"),
            ("s.csv", f"id,URL,title\n1,{A},one\n2,{B},two\n"),
            ("s.csv", f"id;url\n1;{A}\n2;{B}\n"),
            ("s.csv", f'"title","url"\n"a, b\nc",{A}\n"d","{B}"\n\n'),
            ("s.csv", f"url\n{A}\n{B}\n"),
            ("s.tsv", f"{A}\tfirst\n{B}\tsecond\n"),
            ("s", f"title,url\none,{A}\ntwo,{B}\n"),
            ("s.jsonl", f'{{"url": "{A}", "n": 1}}\n\n"{B}"\n'),
            ("s.ndjson", f'"{A}"\n"{B}"\n'),
            ("s", f'\n{{"url": "{A}"}}\n{{"url": "{B}"}}\n'),
            ("s", f'"{A}"\n"{B}"\n'),
        ],
    )
    @pytest.mark.parametrize("packed", [False, True])
    def test_each_form_plain_and_gzipped(
        self, tmp_path: Path, name: str, data: str, packed: bool
    ) -> None:
        if packed:
            path = write(tmp_path, f"{name}.gz", gzip.compress(data.encode()))
        else:
            path = write(tmp_path, name, data)
        assert list(read_seeds(path)) == [A, B]

    def test_gzip_is_told_by_its_bytes(self, tmp_path: Path) -> None:
        assert list(read_seeds(write(tmp_path, "s.txt", gzip.compress(A.encode())))) == [A]

    def test_a_big_file_is_streamed(self, tmp_path: Path) -> None:
        lines = "".join(f"https://example.org/{n}\n" for n in range(20_000))
        path = write(tmp_path, "s.txt.gz", gzip.compress(lines.encode()))
        next(read_seeds(path))
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_seeds(path)) == 20_000
            assert tracemalloc.get_traced_memory()[1] < 500_000
        finally:
            tracemalloc.stop()


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("s.txt", f"{A}\n# no\nfoo bar\n", ":3: not a URL: 'foo bar'"),
            ("s.csv", f"id,url\n1,{A}\n2,nope\n", ":3: not a URL: 'nope'"),
            ("s.csv", f"id,url\n1,{A}\n2\n", ":3: not a URL: ''"),
            ("s.csv", "link,title\n", ":1: not a URL: 'link'"),
            ("s.csv", f'url\n{A}\n"open\n', ":3: not CSV: "),
            ("s.jsonl", f'"{A}"\n{{"url": \n', ":2: not a line of JSON: "),
            ("s.jsonl", '["https://example.org/"]\n', ":1: neither a string nor an object"),
            ("s.jsonl", '{"link": "x"}\n', ":1: neither a string nor an object"),
            ("s.jsonl", "[" * 50_000 + "\n", ":1: n"),
            ("s.txt", b"https://example.org/\n\xff\xfe\n", ":2: not UTF-8 text"),
            ("s.txt", "https://a.example.org/".encode("utf-16"), ":1: not UTF-8 text"),
            ("s.txt", b"\x7fELF\0\0\n", ":1: not a text file"),
            ("s.txt", b"a" * (MAX_LINE + 1), f":1: line longer than {MAX_LINE} bytes"),
            ("s.txt", "", ": holds no URLs"),
            ("s.csv", "url\n", ": holds no URLs"),
            ("s.txt.gz", gzip.compress(A.encode(), mtime=0)[:-4], ": damaged gzip file"),
            (
                "s.txt.gz",
                gzip.compress(A.encode(), mtime=0)[:10] + b"zzzzzzzz",
                ": damaged gzip file",
            ),
        ],
    )
    def test_file_and_line_are_named(
        self, tmp_path: Path, name: str, data: str | bytes, message: str
    ) -> None:
        path = write(tmp_path, name, data)
        assert error(path).startswith(f"{path}{message}")

    def test_unreadable_files(self, tmp_path: Path) -> None:
        assert error(str(tmp_path / "no.txt")).endswith("no.txt: No such file or directory")
        assert error(str(tmp_path)) == f"cannot read {tmp_path}: Is a directory"


class TestPreparing:
    def spec(self, **values: object) -> JobSpec:
        return JobSpec.model_validate({"contact": "me@example.org", **values})

    def test_seeds_are_canonical_and_in_order(self, tmp_path: Path) -> None:
        path = write(tmp_path, "s.txt", f"{B}\n")
        spec = self.spec(seeds=("a.example.org",), seed_files=(path,), sitemaps=("HTTPS://C.org",))
        with prepared(spec) as ready:
            assert ready.sitemaps == ("https://c.org/",)
            assert list(iter_seeds(ready)) == [A, B]
            assert list(iter_seeds(ready)) == [A, B]

    def test_standard_input_is_spooled_and_cleaned_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stdin = SimpleNamespace(buffer=io.BytesIO(gzip.compress(f"{A}\n{B}\n".encode())))
        monkeypatch.setattr(sys, "stdin", stdin)
        with prepared(self.spec(seed_files=("-",))) as ready:
            (spooled,) = ready.seed_files
            assert list(iter_seeds(ready)) == [A, B]
            assert list(iter_seeds(ready)) == [A, B]
        assert not Path(spooled).exists()

    def test_standard_input_is_named_in_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"foo bar\n")))
        with (
            pytest.raises(UsageError, match=r"^stdin:1: not a URL: 'foo bar'$"),
            prepared(self.spec(seed_files=("-",))),
        ):
            pass

    def test_a_file_given_as_a_url_gets_a_hint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write(tmp_path, "seeds.txt", A)
        with (
            pytest.raises(UsageError, match=r"^seeds\.txt is a file: use --seeds seeds\.txt$"),
            prepared(self.spec(seeds=("seeds.txt",))),
        ):
            pass

    def test_a_bad_sitemap_names_its_option(self) -> None:
        with (
            pytest.raises(UsageError, match=r"^--sitemap: not a URL: 'x y'"),
            prepared(self.spec(sitemaps=("x y",))),
        ):
            pass

    def test_no_seeds_at_all(self) -> None:
        with pytest.raises(UsageError, match=r"^no seeds: give URLs"), prepared(self.spec()):
            pass
        with prepared(self.spec(), required=False) as ready:
            assert list(iter_seeds(ready)) == []

    def test_a_public_seed_in_a_file_demands_a_contact(self, tmp_path: Path) -> None:
        path = write(tmp_path, "s.txt", "http://127.0.0.1/\nhttps://example.org/\n")
        spec = JobSpec(seed_files=(path,))
        with pytest.raises(UsageError, match=r"example\.org is a public host"), prepared(spec):
            pass
