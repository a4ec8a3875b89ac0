"""The one list of what can be asked for, and of who may. `/static` and `/sandbox` are mounted by `main`.

The order counts: the first line that fits answers.
"""

from __future__ import annotations

from app.web import monitor, users
from app.web.access import Access, Door, machine, route
from app.web.api import accounts as api_accounts
from app.web.api import auth, openapi
from app.web.api import videos as api_videos
from app.web.api.endpoint import api

PUBLIC, SIGNED_IN, OWNED = Access.PUBLIC, Access.SIGNED_IN, Access.OWNED
OPERATOR, WORLD = Access.OPERATOR, Access.WORLD
POST = ("POST",)

ROUTES: list[Door] = [
    # How the house is
    machine("/health", monitor.health),
    machine("/ready", monitor.ready),
    machine("/metrics", monitor.measured, name="metrics"),
    api("/api/monitor/queue-health", monitor.queue_health, SIGNED_IN),
    api("/api/monitor/queue-usage", monitor.usage, SIGNED_IN),
    api("/api/monitor/redis-usage", monitor.usage, SIGNED_IN, name="api_monitor_redis_usage"),
    # People
    route("/sign-up", users.sign_up_page, PUBLIC),
    route("/sign-up", users.sign_up, PUBLIC, methods=POST),
    route("/sign-in", users.sign_in_page, PUBLIC),
    route("/sign-in", users.sign_in, PUBLIC, methods=POST),
    route("/sign-out", users.sign_out, SIGNED_IN, methods=POST),
    route("/sessions", users.sessions, SIGNED_IN),
    route("/sessions/{session_id:id}/revoke", users.revoke, SIGNED_IN, methods=POST),
    route("/preferences", users.prefer, SIGNED_IN, methods=POST),
    # The API
    machine("/api/openapi.json", openapi.published, name="openapi"),
    api("/api/auth/sign-up", auth.sign_up, PUBLIC, methods=POST),
    api("/api/auth/token", auth.token, PUBLIC, methods=POST),
    api("/api/auth/sign-out", auth.sign_out, SIGNED_IN, methods=POST),
    api("/api/me", auth.me, SIGNED_IN),
    api("/api/accounts", api_accounts.listed, SIGNED_IN),
    api("/api/accounts/sandbox", api_accounts.create_simulated, SIGNED_IN, methods=POST),
    api("/api/videos", api_videos.listed, SIGNED_IN),
    api("/api/videos", api_videos.create, SIGNED_IN, methods=POST),
    api("/api/videos/{video_id:id}", api_videos.get, OWNED),
    api("/api/videos/{video_id:id}/retry", api_videos.retry, OWNED, methods=POST),
    api("/api/videos/{video_id:id}/cancel", api_videos.cancel, OWNED, methods=POST),
]
