"""The machinery of the benchmark of main text, on pages of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.main_text import WAYS, documented, labelled, marked, table

PAGE = (
    "<body><nav><a href=/>menu</a></nav><main><h1>Mill<a class=headerlink>#</a></h1>"
    f"<p>{'The river ran past the mill, and past the church. ' * 20}</p></main></body>"
)


def test_truth_is_the_marked_part() -> None:
    truth = marked(PAGE.encode(), "main").split()
    assert truth[:3] == ["Mill", "The", "river"]
    assert marked(PAGE.encode(), "#page-content") == ""


def test_pages_are_found_and_each_way_is_measured(tmp_path: Path) -> None:
    docs = tmp_path / "rust-doc/usr/share/doc"
    docs.mkdir(parents=True)
    (docs / "a.html").write_text(PAGE)
    (docs / "short.html").write_text("<main>none</main>")
    pages = list(documented("rust-doc", tmp_path, 5))
    assert len(pages) == 1
    (tmp_path / "set").mkdir()
    (tmp_path / "set/one.html").write_text(PAGE)
    (tmp_path / "set/one.txt").write_text("Mill")
    (tmp_path / "set/unlabelled.html").write_text(PAGE)
    assert [truth for _, truth in labelled(tmp_path / "set")] == ["Mill"]
    lines = list(table({"rust-doc": pages, "none": []}))
    assert len(lines) == 2 + len(WAYS)
    assert lines[2].startswith("| fast | 1.000 |")
