"""The list of what is done names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
NAMED = re.compile(r"`([\w/]+\.py)(?:::(test_\w+))?`")


def test_every_test_that_the_list_names_exists() -> None:
    found = NAMED.findall((HERE / "COVERAGE.md").read_text())
    assert len(found) > 30
    for path, name in found:
        file = HERE.parent / path if path.startswith(("app/", "benchmarks/")) else HERE / path
        assert file.is_file(), f"{path} is named and missing"
        assert not name or f"def {name}(" in file.read_text(), f"{path} has no {name}"


def test_folders_that_the_list_names_hold_tests() -> None:
    for folder in re.findall(r"`(\w+(?:/\w+)*)/`", (HERE / "COVERAGE.md").read_text()):
        assert list((HERE / folder).glob("test_*.py")), f"{folder} is named and holds no tests"
