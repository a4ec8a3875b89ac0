from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from app import http
from tests.platforms.conformance.kit import World, running
from tests.platforms.conformance.subjects import SUBJECTS, Subject

# Past every window of a day: no test meets the limits that another one used up.
A_DAY_AND_MORE_S = 90_000.0
passed: Counter[str] = Counter()


@pytest.fixture(scope="session")
def one_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("conformance")) as world:
        yield world


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.param
    return found


@pytest.fixture
async def world(one_world: World, subject: Subject) -> AsyncIterator[World]:
    """The world a day later than the last test saw it, behaving again, with the limits of a whole app lifted."""
    one_world.ahead_s += A_DAY_AND_MORE_S
    if subject.per_app:
        await one_world.tell("/apps", subject.per_app)
    yield one_world
    await one_world.clear()
    await http.close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        for subject in SUBJECTS:
            if f"[{subject.name}" in report.nodeid or f"-{subject.name}" in report.nodeid:
                passed[subject.name] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if passed:
        counted = ", ".join(f"{name} {passed[name]}" for name in sorted(passed))
        terminalreporter.write_line(f"conformance: cases passed per adapter: {counted}")
