"""The rules of the house that neither the linter nor the import contract can say."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXTS = {
    p.relative_to(ROOT).as_posix(): p.read_text()
    for d in ("app", "tasks", "tests")
    for p in (ROOT / d).rglob("*.py")
}
TREES = {name: ast.parse(text) for name, text in TEXTS.items() if not name.startswith("tests/")}
NODES = [(name, node) for name, tree in TREES.items() for node in ast.walk(tree)]
HEAVY = {"boto3", "botocore", "openai"}  # half a second and more each; most processes never need them
ROOMS = ("users", "accounts", "publishing", "videos")
READ_ENVIRONMENT = ("app/config.py", "app/cli.py")
# The simulators keep books of their own and know no table of ours.
WITHOUT_SQL = ("app/web/", "tasks/", "app/media/", "app/platforms/")
SQL = r"(?s)\b(SELECT\s.+\sFROM|INSERT INTO|UPDATE\s+\w+\s+SET|DELETE FROM|(CREATE|ALTER|DROP) TABLE)\b"
SILENCED = r"#\s*(noqa(:[\sA-Z0-9,]+)?|type:\s*ignore(\[[\w, -]*\])?)\s*$"
LONGEST = 500


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def place(name: str, node: ast.AST) -> str:
    return f"{name}:{getattr(node, 'lineno', 0)}"


def test_modules_are_imported_at_the_top() -> None:
    functions = [(n, f) for n, f in NODES if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inside = {(place(n, node), word) for n, f in functions for node in ast.walk(f) for word in imported(node)}
    assert [found for found in sorted(inside) if found[1].split(".")[0] not in HEAVY] == []


def test_nothing_is_imported_for_types_only() -> None:
    assert [
        place(n, node) for n, node in NODES if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"
    ] == []


def test_only_the_settings_read_the_environment() -> None:
    words = {"environ", "environb", "getenv"}
    read = [(n, node) for n, node in NODES if getattr(node, "attr", None) in words]
    read += [(n, node) for n, node in NODES for word in imported(node) if word.removeprefix("os.") in words]
    assert [place(n, node) for n, node in read if n not in READ_ENVIRONMENT] == []


def test_rooms_are_entered_by_the_front_door() -> None:
    words = [(n, w.split(".")) for n, node in NODES for w in imported(node) if w.startswith("app.")]
    far = [(n, w) for n, w in words if len(w) > 2 and w[1] in ROOMS and not n.startswith(f"app/{w[1]}/")]
    assert [(n, w) for n, w in far if f"app/{w[1]}/{w[2]}.py" in TREES] == []


def test_doors_and_outside_hold_no_sql() -> None:
    texts = [(n, t) for n, t in NODES if isinstance(t, ast.Constant) and n.startswith(WITHOUT_SQL)]
    assert [place(n, t) for n, t in texts if re.search(SQL, str(t.value))] == []


def test_every_job_is_bound_to_a_task() -> None:
    jobs = re.findall(r"(?m)^(\w+)(?:: \w+)? = (?:\w+\.)?Job\(", TEXTS.get("app/jobs.py", ""))
    words = [w for n, node in NODES if n.startswith("tasks/") for w in getattr(node, "decorator_list", [])]
    bound = {job for word in words for job in re.findall(r"\bjobs\.([A-Z]\w*)", ast.unparse(word))}
    assert set(jobs) == bound or not [n for n in TREES if n.startswith("tasks/") and "__init__" not in n]


def test_every_module_stands_on_a_floor() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = set(re.findall(r"app\.(\w+)", " ".join(contract["layers"])))
    modules = {n.split("/")[1].removesuffix(".py") for n in TREES if n.startswith("app/")}
    assert modules - floors - {"__init__"} == set()


def test_what_is_silenced_has_its_reason_beside_it() -> None:
    lines = [(n, line) for n, text in TEXTS.items() for line in text.splitlines()]
    assert [found for found in lines if re.search(SILENCED, found[1])] == []


def test_no_file_is_too_long() -> None:
    assert [name for name, text in TEXTS.items() if text.count("\n") > LONGEST] == []


def test_the_lock_files_name_no_address() -> None:
    locks = {lock.name: lock.read_text() for lock in ROOT.glob("requirements*.lock")}
    assert len(locks) == 2
    assert [name for name, text in locks.items() if "://" in text] == []
