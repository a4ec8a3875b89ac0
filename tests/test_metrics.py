from __future__ import annotations

import pytest

from app import metrics


def shown(start: str) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    "name",
    [
        "jobs_done_total",
        "jobs_failed_total",
        "jobs_retried_total",
        "job_duration_seconds",
        "job_wait_seconds",
        "http_requests_total",
        "http_request_seconds",
        "live_connections",
        "outside_calls_total",
    ],
)
def test_every_promised_name_is_there(name: str) -> None:
    assert shown(f"# TYPE {name} ")


def test_the_process_itself_is_measured() -> None:
    assert shown("process_resident_memory_bytes")


def sample(line: str) -> float:
    (found,) = [float(text.rpartition(" ")[2]) for text in shown(line)] or [0.0]
    return found


@pytest.mark.parametrize(
    ("outcome", "counter"),
    [
        ("done", "jobs_done"),
        ("gave_up", "jobs_failed"),
        ("unsure", "jobs_failed"),
        ("failed", "jobs_retried"),
    ],
)
def test_a_run_is_counted_by_queue_and_task_as_it_ended(outcome: str, counter: str) -> None:
    labels = '{queue="video-edit",task="own task"}'
    names = ("jobs_done", "jobs_failed", "jobs_retried")
    before = {name: sample(f"{name}_total{labels}") for name in names}
    runs = sample(f"job_duration_seconds_count{labels}")
    metrics.count_run("video-edit", "own task", outcome, 0.2)
    after = {name: sample(f"{name}_total{labels}") for name in names}
    assert after == before | {counter: before[counter] + 1}
    assert sample(f"job_duration_seconds_count{labels}") == runs + 1


def test_a_run_that_was_handed_back_is_timed_and_counts_as_no_end() -> None:
    metrics.count_run("video-edit", "handed task", "handed_back", 0.2)
    assert sample('job_duration_seconds_count{queue="video-edit",task="handed task"}') == 1
    assert not shown('jobs_retried_total{queue="video-edit",task="handed task"} 1')


def test_waits_are_told_apart_by_what_made_the_worker_look() -> None:
    metrics.count_wait("video-edit", "waiting task", "notice", 0.2)
    metrics.count_wait("video-edit", "waiting task", "poll", 3)
    bucket = 'job_wait_seconds_bucket{by="%s",le="0.25",queue="video-edit",task="waiting task"}'
    assert sample(bucket % "notice") == 1
    assert sample(bucket % "poll") == 0


def test_figures_of_the_moment_stand_beside_what_was_counted_and_are_gone_with_the_next_answer() -> None:
    figures = metrics.Figures()
    figures.gauge("places_left", "Places", ("queue",), [(("a",), 3)])
    figures.counter("ever", "Runs", (), [((), 7)])
    text = metrics.render(figures).decode()
    assert 'places_left{queue="a"} 3.0' in text
    assert "# TYPE ever_total counter" in text
    assert "\never_total 7.0" in text
    assert "# TYPE jobs_done_total counter" in text
    assert not shown("places_left")


def test_calls_to_a_platform_are_counted_by_step_and_outcome() -> None:
    metrics.outside_calls.labels(platform="tiktok", step="own step", outcome="ok").inc()
    assert shown('outside_calls_total{outcome="ok",platform="tiktok",step="own step"} 1.0')


def test_a_gauge_set_anew_forgets_what_was() -> None:
    metrics.live_connections.set(3)
    metrics.live_connections.set(0)
    assert shown("live_connections ") == ["live_connections 0.0"]
