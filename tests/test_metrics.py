from __future__ import annotations

import pytest

from app import metrics


def shown(start: str) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    "name",
    [
        "jobs_queued",
        "jobs_running",
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


def test_jobs_are_counted_by_queue_and_task() -> None:
    metrics.jobs_done.labels(queue="video-edit", task="edit-video").inc()
    metrics.job_wait_seconds.labels(queue="video-edit", task="edit-video").observe(0.2)
    assert shown('jobs_done_total{queue="video-edit",task="edit-video"}')
    assert shown('job_wait_seconds_bucket{le="0.25",queue="video-edit",task="edit-video"}')


def test_calls_to_a_platform_are_counted_by_step_and_outcome() -> None:
    metrics.outside_calls.labels(platform="tiktok", step="own step", outcome="ok").inc()
    assert shown('outside_calls_total{outcome="ok",platform="tiktok",step="own step"} 1.0')


def test_a_gauge_set_anew_forgets_what_was() -> None:
    metrics.live_connections.set(3)
    metrics.live_connections.set(0)
    assert shown("live_connections ") == ["live_connections 0.0"]
