"""The jobs: filters in the address, one job with everything that happened to it, retry, cancel, discard."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import db, jobs, live, queue, users
from app.errors import WrongState
from app.queue import Filter, JobRow
from app.web import forms, guard, words
from app.web.admin import frame, things

PAGE = 50
LONGEST_WORDS = 200
LONGEST_REASON = 200
BY_OPERATOR = "An operator cancelled it."


def wanted(query: Any) -> Filter:
    """The filter that an address asks for; what makes no sense counts as not asked."""
    state = query.get("state", "")
    text = " ".join(query.get("words", "").split())[:LONGEST_WORDS]
    return Filter(
        status=state if state in queue.STAGES else None,
        queue=query.get("queue") or None,
        task=query.get("task") or None,
        workspace_id=number(query.get("workspace", "")),
        words=text or None,
        before_id=number(query.get("before", "")),
    )


def query_of(asked: Filter) -> dict[str, Any]:
    """The same filter as a query of an address."""
    found = {
        "state": asked.status,
        "queue": asked.queue,
        "task": asked.task,
        "workspace": asked.workspace_id,
        "words": asked.words,
    }
    return {name: value for name, value in found.items() if value is not None}


def in_words(asked: Filter) -> str:
    """The same filter as a person says it."""
    parts = [frame.STAGES[asked.status].text.lower() if asked.status else "all", "jobs"]
    for word, value in (("of", asked.queue), ("that do", asked.task), ("of workspace", asked.workspace_id)):
        if value is not None:
            parts += [word, str(value)]
    return " ".join(parts) + (f" with \u201c{asked.words}\u201d" if asked.words else "")


async def page(request: Request) -> Response:
    """GET /admin/jobs"""
    return await _list(request, "admin/jobs.html")


async def listed(request: Request) -> Response:
    """GET /admin/jobs/list: the part that lives."""
    return await _list(request, "admin/_jobs.html")


async def _list(request: Request, template: str) -> Response:
    asked = wanted(request.query_params)
    async with db.house() as conn:
        found = await queue.find(conn, asked, most=PAGE + 1)
        counts = await queue.batch.counts(conn, asked)
        names = await users.workspace_names(conn, {job.workspace_id for job in found if job.workspace_id})
    return frame.show(
        request,
        template,
        jobs=found[:PAGE],
        more=found[PAGE - 1].id if len(found) > PAGE else None,
        counts=counts,
        near=queue.batch.LOOK_NEAR,
        look=queue.LOOK,
        asked=asked,
        query=query_of(asked),
        said=in_words(asked),
        workspaces=names,
        queues=[line.name for line in jobs.QUEUES],
        tasks=[job.name for job in jobs.JOBS],
        did=did(request),
    )


async def one(request: Request) -> Response:
    """GET /admin/jobs/{job_id}"""
    return await _one(request, "admin/job.html")


async def card(request: Request) -> Response:
    """GET /admin/jobs/{job_id}/card: the part that lives."""
    return await _one(request, "admin/_job.html")


async def _one(
    request: Request, template: str, *, status: int = 200, problem: WrongState | None = None
) -> Response:
    who = guard.who_acts(request)
    async with db.house() as conn:
        job = await queue.get(conn, request.path_params["job_id"])
        tried = await queue.attempts(conn, job.id)
        waiting = await queue.waiting_reason(conn, job.id)
        twin = await queue.waiting_twin(conn, job) if job.over and job.once else None
        thing = await things.of(conn, job, who.workspace.id)
        acts = await queue.lately.acts(conn, subject=f"job-{job.id}")
        names = await users.names(conn, {act.user_id for act in acts if act.user_id})
        workspaces = await users.workspace_names(conn, [job.workspace_id] if job.workspace_id else [])
        workers = await queue.lately.worker_names(conn, [attempt.worker_id for attempt in tried])
        in_force = (await queue.lately.limit_states(conn)).get(job.queue)
    lines = {line.name: line for line in jobs.QUEUES}
    return frame.show(
        request,
        template,
        status=status,
        job=job,
        attempts=tried,
        waiting=waiting,
        twin=twin,
        thing=thing,
        thing_word=words.state(thing.state) if thing else None,
        acts=acts,
        names=names,
        workspaces=workspaces,
        workers=workers,
        limits=lines.get(job.queue, queue.Queue(job.queue)).effective(),
        in_force=in_force,
        arguments=json.dumps(job.args, indent=2, ensure_ascii=False, sort_keys=True),
        priority_word=priority_word(job),
        problem=problem,
    )


def priority_word(job: JobRow) -> str:
    number = job.product_priority
    word = {0: "first", queue.HIGH: "high", queue.NORMAL: "normal", queue.LOW: "low"}.get(number, "own")
    return f"{word} ({number})"


async def retry(request: Request) -> Response:
    """POST /admin/jobs/{job_id}/retry: with the same work in line already, the page says so."""
    by, job_id = guard.who_acts(request).person.id, request.path_params["job_id"]
    try:
        async with db.house() as conn:
            job = await queue.get(conn, job_id)
            await things.retry(conn, job)
            await queue.audit(
                conn, by, "job.retried", f"job-{job_id}", before=job.shown, reason=job.last_reason
            )
            await _tell(conn, job_id)
    except WrongState as error:
        return await _one(request, "admin/job.html", status=409, problem=error)
    return frame.back(request, "admin_job", ids={"job_id": job_id})


async def cancel(request: Request) -> Response:
    """POST /admin/jobs/{job_id}/cancel"""
    by, job_id = guard.who_acts(request).person.id, request.path_params["job_id"]
    reason = " ".join(forms.text(await forms.read(request), "reason").split())[:LONGEST_REASON]
    try:
        async with db.house() as conn:
            await queue.get(conn, job_id)
            await queue.cancel_by_operator(conn, job_id, by, reason or BY_OPERATOR)
            await _tell(conn, job_id)
    except WrongState as error:
        return await _one(request, "admin/job.html", status=409, problem=error)
    return frame.back(request, "admin_job", ids={"job_id": job_id})


async def discard(request: Request) -> Response:
    """POST /admin/jobs/{job_id}/discard: gone for good, with its attempts; wants a fresh sign-in."""
    by, job_id = guard.who_acts(request).person.id, request.path_params["job_id"]
    if (first := frame.needs_sign_in(request, f"/admin/jobs/{job_id}")) is not None:
        return first
    try:
        async with db.house() as conn:
            job = await queue.get(conn, job_id)
            await queue.discard(conn, job_id)
            await queue.audit(
                conn,
                by,
                "job.discarded",
                f"job-{job_id}",
                task=job.task,
                before=job.shown,
                reason=job.last_reason,
                arguments=job.args,
            )
            await _tell(conn, job_id)
    except WrongState as error:
        return await _one(request, "admin/job.html", status=409, problem=error)
    return frame.back(request, "admin_jobs", state="failed", did="discard", many=1)


async def _tell(conn: db.Conn, job_id: int) -> None:
    await live.tell(conn, f"job-{job_id}", "queues")


def did(request: Request) -> str:
    """What the act before this page did, as a sentence; empty when there was none."""
    query = request.query_params
    verbs = {
        "retry": "put back in line",
        "cancel": "asked to stop",
        "empty": "taken out of the queue",
        "discard": "discarded",
    }
    verb, many = verbs.get(query.get("did", "")), number(query.get("many", ""), least=0)
    if verb is None or many is None:
        return ""
    skipped, left = number(query.get("skipped", "")), query.get("left") == "1"
    said = f"{many:,} {'job' if many == 1 else 'jobs'} {verb}."
    if skipped:
        said += f" {skipped} could not be: they stay as they were."
    return said + (" More are left: do it again to go on." if left else "")


def number(text: str, *, least: int = 1) -> int | None:
    """A number that a bigint holds, or None."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < least:
        return None
    return int(text)
