"""What the documents say is what the code says."""

import ast
import re
from pathlib import Path

import pytest

from docs import generate
from h3_pipeline.cli.app import app
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.storage import prefixes
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement

REPOSITORY = generate.REPOSITORY
DOCUMENTS = [*generate.documents(), REPOSITORY / "CONTRIBUTING.md"]

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_REFUSALS = {"UploadRefused", "RefusedAfterReading", "UndecidedTimeFormat"}


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _prose(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_generated_blocks_are_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert generate.render(text) == text, "run `make docs`"


def test_a_block_that_is_out_of_date_is_noticed() -> None:
    text = "before\n<!-- generated: reasons -->\n| `old_reason` | |\n<!-- end -->\nafter\n"
    rendered = generate.render(text)
    assert rendered.startswith("before\n<!-- generated: reasons -->\n| reason |")
    assert rendered.endswith("|\n<!-- end -->\nafter\n")
    assert "old_reason" not in rendered
    assert "`origin_null_island`" in rendered


def test_a_block_of_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-block"):
        generate.render("<!-- generated: no-such-block -->\n<!-- end -->")


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for match in _LINK.finditer(_prose(text)):
        target, _, anchor = match["target"].partition("#")
        if target.startswith(("http://", "https://")):
            continue
        document = (path.parent / target).resolve() if target else path
        assert document.is_file(), f"{match[0]} leads nowhere"
        if anchor:
            assert anchor in _anchors(document.read_text(encoding="utf-8")), f"{match[0]}: no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z][a-z -]*)", text) + re.findall(r"^make ([a-z -]+)$", text, re.MULTILINE)
    unknown = {target for line in named for target in line.split()} - targets
    assert not unknown


def test_every_refusal_code_is_explained_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.split("## What a refusal means", 1)[1].split("\n## ", 1)[0]
    explained = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert explained == sorted(_refusal_codes())


def _refusal_codes() -> set[str]:
    """First arguments of all refusals in the code."""
    codes = set()
    for path in (REPOSITORY / "h3_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _REFUSALS:
                code = node.args[0]
                assert isinstance(code, ast.Constant), f"{path}:{node.lineno}: a refusal's code must be a literal"
                codes.add(code.value)
    return codes


@pytest.mark.parametrize("name", ["README.md", "docs/feeds.md"])
def test_feeds_in_the_documents_are_valid(name: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / name).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert FeedCatalog.load(block).user


def test_the_contract_names_every_prefix_and_ending() -> None:
    text = (REPOSITORY / "docs" / "data-contract.md").read_text(encoding="utf-8")
    for prefix in prefixes.ALL:
        assert f"| `{prefix}` |" in text
    for ending in (
        prefixes.PROCESSED_SUFFIX,
        prefixes.MANIFEST_SUFFIX,
        prefixes.REJECTED_SUFFIX,
        prefixes.REFUSAL_SUFFIX,
    ):
        assert f"KEY{ending}`" in text


def test_the_readme_lists_every_command_and_no_other() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `h3-pipeline ([a-z]+)", text, re.MULTILINE)
    commands = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert listed == commands


def test_the_readmes_queries_can_be_asked(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    queries = re.findall(r'h3-pipeline query "(.*?)"', text, re.DOTALL)
    assert queries
    with open_embedded(tmp_path / "warehouse") as engine:
        migrate(engine, Placement("h3_pipeline"))
        for query in queries:
            assert engine.rows(query) == []
