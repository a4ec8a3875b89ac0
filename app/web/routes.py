"""The one list of what can be asked for, and of who may. `/static` and `/sandbox` are mounted by `main`.

The order counts: the first line that fits answers.
"""

from __future__ import annotations

from app.web import (
    accounts,
    assets,
    batches,
    calendar,
    composer,
    dashboard,
    imports,
    kits,
    live,
    look,
    media,
    monitor,
    post_change,
    publications,
    renditions,
    slots,
    start,
    streams,
    targets,
    uploads,
    users,
    videos,
)
from app.web.access import Access, Door, Handler, machine, route
from app.web.admin import batch as admin_batch
from app.web.admin import frame as admin_frame
from app.web.admin import health as admin_health
from app.web.admin import jobs as admin_jobs
from app.web.admin import platforms as admin_platforms
from app.web.admin import queues as admin_queues
from app.web.admin import schedules as admin_schedules
from app.web.admin import steering as admin_steering
from app.web.admin import workers as admin_workers
from app.web.api import accounts as api_accounts
from app.web.api import auth, openapi
from app.web.api import batches as api_batches
from app.web.api import publications as api_publications
from app.web.api import videos as api_videos
from app.web.api.endpoint import api

PUBLIC, SIGNED_IN, OWNED = Access.PUBLIC, Access.SIGNED_IN, Access.OWNED
OPERATOR, WORLD = Access.OPERATOR, Access.WORLD
POST = ("POST",)


def player(path: str, handler: Handler, name: str) -> Door:
    """A line of what players ask for of one video's stream."""
    return route("/videos/{video_id:id}/stream" + path, handler, OWNED, name=name, for_players=True)


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
    # Accounts
    route("/accounts", accounts.listed, SIGNED_IN, name="accounts"),
    route(
        "/accounts/simulated",
        accounts.create_simulated,
        SIGNED_IN,
        methods=POST,
        name="account_create_simulated",
    ),
    route("/accounts/choose/{token}", accounts.choose, SIGNED_IN, name="account_choose"),
    route("/accounts/choose/{token}", accounts.pick, SIGNED_IN, methods=POST, name="account_pick"),
    route("/accounts/{platform}/connect", accounts.connect, SIGNED_IN, name="account_connect"),
    route("/accounts/{platform}/callback", accounts.callback, SIGNED_IN, name="account_callback"),
    route("/accounts/{account_id:id}/card", accounts.card, OWNED, name="account_card"),
    route("/accounts/{account_id:id}/pause", accounts.pause, OWNED, methods=POST, name="account_pause"),
    route("/accounts/{account_id:id}/resume", accounts.resume, OWNED, methods=POST, name="account_resume"),
    route("/accounts/{account_id:id}/test", accounts.test, OWNED, methods=POST, name="account_test"),
    route("/accounts/{account_id:id}/late", accounts.set_policy, OWNED, methods=POST, name="account_late"),
    route(
        "/accounts/{account_id:id}/disconnect",
        accounts.disconnect,
        OWNED,
        methods=POST,
        name="account_disconnect",
    ),
    # Operators
    route("/admin/queues", admin_queues.page, OPERATOR, name="admin_queues"),
    route("/admin/queues/table", admin_queues.table, OPERATOR, name="admin_queues_table"),
    route(
        "/admin/queues/{queue}/pause", admin_queues.pause, OPERATOR, methods=POST, name="admin_queue_pause"
    ),
    route(
        "/admin/queues/{queue}/resume", admin_queues.resume, OPERATOR, methods=POST, name="admin_queue_resume"
    ),
    route(
        "/admin/queues/{queue}/limits",
        admin_steering.set_limits,
        OPERATOR,
        methods=POST,
        name="admin_queue_limits",
    ),
    route(
        "/admin/queues/{queue}/limits/reset",
        admin_steering.reset_limits,
        OPERATOR,
        methods=POST,
        name="admin_queue_limits_reset",
    ),
    route("/admin/pauses", admin_steering.pause, OPERATOR, methods=POST, name="admin_pause"),
    route(
        "/admin/pauses/{queue}/end", admin_steering.end_pause, OPERATOR, methods=POST, name="admin_pause_end"
    ),
    route("/admin/jobs", admin_jobs.page, OPERATOR, name="admin_jobs"),
    route("/admin/jobs/list", admin_jobs.listed, OPERATOR, name="admin_jobs_list"),
    route("/admin/jobs/{job_id:id}", admin_jobs.one, OPERATOR, name="admin_job"),
    route("/admin/jobs/{job_id:id}/card", admin_jobs.card, OPERATOR, name="admin_job_card"),
    route("/admin/jobs/{job_id:id}/retry", admin_jobs.retry, OPERATOR, methods=POST, name="admin_job_retry"),
    route(
        "/admin/jobs/{job_id:id}/cancel", admin_jobs.cancel, OPERATOR, methods=POST, name="admin_job_cancel"
    ),
    route(
        "/admin/jobs/{job_id:id}/discard",
        admin_jobs.discard,
        OPERATOR,
        methods=POST,
        name="admin_job_discard",
    ),
    route("/admin/batch", admin_batch.page, OPERATOR, name="admin_batch"),
    route("/admin/batch", admin_batch.act, OPERATOR, methods=POST, name="admin_batch_act"),
    route("/admin/again", admin_frame.again, OPERATOR, name="admin_again"),
    route("/admin/platforms", admin_platforms.page, OPERATOR, name="admin_platforms"),
    route(
        "/admin/platforms/{platform}",
        admin_platforms.enter,
        OPERATOR,
        methods=POST,
        name="admin_platform_enter",
    ),
    route(
        "/admin/platforms/{platform}/remove",
        admin_platforms.remove,
        OPERATOR,
        methods=POST,
        name="admin_platform_remove",
    ),
    route("/admin/workers", admin_workers.page, OPERATOR, name="admin_workers"),
    route("/admin/workers/list", admin_workers.listed, OPERATOR, name="admin_workers_list"),
    route("/admin/schedules", admin_schedules.page, OPERATOR, name="admin_schedules"),
    route(
        "/admin/schedules/{task}/run",
        admin_schedules.run_now,
        OPERATOR,
        methods=POST,
        name="admin_schedule_run",
    ),
    route("/admin/health", admin_health.page, OPERATOR, name="admin_health"),
    route("/admin/audit", admin_health.audit, OPERATOR, name="admin_audit"),
    # The creator's pages
    route("/", dashboard.dashboard, SIGNED_IN),
    route("/dashboard/board", dashboard.board, SIGNED_IN, name="dashboard_board"),
    route("/start", start.start, SIGNED_IN),
    route("/start/checks", start.checks, OPERATOR, name="start_checks"),
    route("/start/simulated", start.simulated, SIGNED_IN, methods=POST, name="start_simulated"),
    route("/videos", videos.library, SIGNED_IN, name="videos"),
    route("/videos", videos.take_in, SIGNED_IN, methods=POST, name="video_take_in"),
    route("/videos/cards", videos.cards, SIGNED_IN, name="video_cards"),
    route("/videos/new", videos.new, SIGNED_IN, name="video_new"),
    route("/videos/new/panel", videos.panel, SIGNED_IN, name="video_panel"),
    route("/videos/new/when", videos.when, SIGNED_IN, name="video_when"),
    route("/videos/check", videos.check, SIGNED_IN, methods=POST, name="video_check"),
    route("/videos/{video_id:id}", videos.video, OWNED),
    route("/videos/{video_id:id}/view", videos.view, OWNED, name="video_view"),
    route("/videos/{video_id:id}/card", videos.card, OWNED, name="video_card"),
    route("/videos/{video_id:id}/row", videos.row, OWNED, name="video_row"),
    route("/videos/{video_id:id}/targets", videos.targets, OWNED, name="video_targets"),
    route("/videos/{video_id:id}/timeline", videos.timeline, OWNED, name="video_timeline"),
    route("/videos/{video_id:id}/file", videos.file, OWNED, name="video_file"),
    route("/videos/{video_id:id}/cancel", videos.cancel, OWNED, methods=POST, name="video_cancel"),
    route("/videos/{video_id:id}/retry", videos.retry, OWNED, methods=POST, name="video_retry"),
    route("/videos/{video_id:id}/look", look.look, OWNED, name="video_look"),
    route("/videos/{video_id:id}/look", look.change, OWNED, methods=POST, name="video_look_change"),
    route("/videos/{video_id:id}/look/preview", look.preview, OWNED, name="video_look_preview"),
    route("/videos/{video_id:id}/publish", videos.publish_form, OWNED, name="video_publish_form"),
    route("/videos/{video_id:id}/publish", videos.publish, OWNED, methods=POST, name="video_publish"),
    route("/videos/{video_id:id}/targets/{target_id:id}", videos.target, OWNED),
    route("/videos/{video_id:id}/targets/{target_id:id}/cancel", videos.target_cancel, OWNED, methods=POST),
    route("/videos/{video_id:id}/targets/{target_id:id}/retry", videos.target_retry, OWNED, methods=POST),
    route("/videos/{video_id:id}/targets/{target_id:id}/settle", videos.target_settle, OWNED, methods=POST),
    route("/videos/{video_id:id}/streams", renditions.section, OWNED, name="video_streams"),
    route("/videos/{video_id:id}/streams", renditions.make, OWNED, methods=POST, name="video_make_streams"),
    route(
        "/videos/{video_id:id}/streams/stop", renditions.stop, OWNED, methods=POST, name="video_stop_streams"
    ),
    route(
        "/videos/{video_id:id}/streams/rung",
        renditions.make_rung,
        OWNED,
        methods=POST,
        name="video_make_rung",
    ),
    route("/videos/{video_id:id}/poster", renditions.pick_poster, OWNED, methods=POST, name="video_poster"),
    # What players ask for
    player("/master.m3u8", streams.master, "stream_master"),
    player("/manifest.mpd", streams.manifest, "stream_manifest"),
    player("/{stream_id:id}/storyboard.vtt", streams.storyboard, "stream_storyboard"),
    player("/{stream_id:id}/storyboard-{number:number}.jpg", streams.sheet, "stream_sheet"),
    player("/{stream_id:id}/chapters.vtt", streams.chapters, "stream_chapters"),
    player("/{stream_id:id}/captions-{language:name}.vtt", streams.captions, "stream_captions"),
    player(
        "/{stream_id:id}/captions-{language:name}.m3u8", streams.captions_playlist, "stream_captions_playlist"
    ),
    player("/{stream_id:id}/{track:name}.m3u8", streams.playlist, "stream_playlist"),
    player("/{stream_id:id}/{track:name}/init.mp4", streams.beginning, "stream_beginning"),
    player("/{stream_id:id}/{track:name}/{number:number}.m4s", streams.segment, "stream_segment"),
    # The composer
    route("/compose", composer.new, SIGNED_IN, name="compose"),
    route("/compose", composer.send, SIGNED_IN, methods=POST, name="compose_send"),
    route("/compose/check", composer.check, SIGNED_IN, methods=POST, name="compose_check"),
    route("/compose/panel", composer.panel, SIGNED_IN, methods=POST, name="compose_panel"),
    route("/compose/slot", composer.slot, SIGNED_IN, name="compose_slot"),
    route("/compose/drafts", composer.keep, SIGNED_IN, methods=POST, name="compose_keep"),
    route("/compose/drafts/{draft_id:id}/remove", composer.drop, OWNED, methods=POST, name="compose_drop"),
    route("/publications/{publication_id:id}/edit", post_change.edit, OWNED, name="publication_edit"),
    route(
        "/publications/{publication_id:id}/edit",
        post_change.change,
        OWNED,
        methods=POST,
        name="publication_change",
    ),
    route(
        "/publications/{publication_id:id}/check",
        post_change.check,
        OWNED,
        methods=POST,
        name="publication_check",
    ),
    # The calendar, publications and their posts
    route("/calendar", calendar.calendar, SIGNED_IN),
    route("/calendar/view", calendar.view, SIGNED_IN, name="calendar_view"),
    route("/calendar/lane", targets.lane, SIGNED_IN, methods=POST, name="lane_act"),
    route("/publications", publications.listed, SIGNED_IN, name="publications"),
    route("/publications/rows", publications.rows, SIGNED_IN, name="publication_rows"),
    route("/publications/import", imports.form, SIGNED_IN, name="publication_import"),
    route("/publications/import/example.csv", imports.example, SIGNED_IN, name="publication_import_example"),
    route(
        "/publications/import/preview",
        imports.preview,
        SIGNED_IN,
        methods=POST,
        name="publication_import_preview",
    ),
    route(
        "/publications/import/text",
        imports.correct,
        SIGNED_IN,
        methods=POST,
        name="publication_import_correct",
    ),
    route("/publications/import", imports.take_in, SIGNED_IN, methods=POST, name="publication_import_all"),
    route("/publications/{publication_id:id}", publications.publication, OWNED),
    route("/publications/{publication_id:id}/view", publications.view, OWNED, name="publication_view"),
    route(
        "/publications/{publication_id:id}/retry",
        targets.retry_failed,
        OWNED,
        methods=POST,
        name="publication_retry",
    ),
    route(
        "/publications/{publication_id:id}/cancel",
        targets.cancel_all,
        OWNED,
        methods=POST,
        name="publication_cancel",
    ),
    route(
        "/publications/{publication_id:id}/move",
        targets.move_all,
        OWNED,
        methods=POST,
        name="publication_move",
    ),
    route("/publications/targets/{target_id:id}/move", targets.move, OWNED, methods=POST, name="target_move"),
    route(
        "/publications/targets/{target_id:id}/post-now",
        targets.post_now,
        OWNED,
        methods=POST,
        name="target_post_now",
    ),
    route("/publications/targets/{target_id:id}/skip", targets.skip, OWNED, methods=POST, name="target_skip"),
    route("/publications/targets/{target_id:id}/stop", targets.stop, OWNED, methods=POST, name="target_stop"),
    route(
        "/publications/targets/{target_id:id}/again", targets.again, OWNED, methods=POST, name="target_again"
    ),
    route(
        "/publications/targets/{target_id:id}/settled",
        targets.settled,
        OWNED,
        methods=POST,
        name="target_settled",
    ),
    route("/accounts/{account_id:id}/slots", slots.listed, OWNED, name="account_slots"),
    route("/accounts/{account_id:id}/slots", slots.add, OWNED, methods=POST, name="account_slot_add"),
    route(
        "/accounts/{account_id:id}/slots/{slot_id:id}/remove",
        slots.remove,
        OWNED,
        methods=POST,
        name="account_slot_remove",
    ),
    # Several videos at once
    route("/batches", batches.listed, SIGNED_IN, name="batches"),
    route("/batches", batches.create, SIGNED_IN, methods=POST, name="batch_create"),
    route("/batches/under-way", batches.under_way, SIGNED_IN, name="batches_under_way"),
    route("/batches/new", batches.new, SIGNED_IN, name="batch_new"),
    route("/batches/{batch_id:id}", batches.batch, OWNED),
    route("/batches/{batch_id:id}/view", batches.view, OWNED, name="batch_view"),
    route("/batches/{batch_id:id}/retry", batches.retry, OWNED, methods=POST, name="batch_retry"),
    route("/batches/{batch_id:id}/cancel", batches.cancel, OWNED, methods=POST, name="batch_cancel"),
    route(
        "/batches/{batch_id:id}/items/{item_id:id}/remove",
        batches.remove,
        OWNED,
        methods=POST,
        name="batch_item_remove",
    ),
    route("/assets", assets.listed, SIGNED_IN, name="assets"),
    route("/assets", assets.take_in, SIGNED_IN, methods=POST, name="asset_take_in"),
    route("/assets/{asset_id:id}/remove", assets.remove, OWNED, methods=POST, name="asset_remove"),
    # Looks
    route("/kits", kits.listed, SIGNED_IN, name="kits"),
    route("/kits", kits.add, SIGNED_IN, methods=POST, name="kit_add"),
    route("/kits/new", kits.new, SIGNED_IN, name="kit_new"),
    route("/kits/{kit_id:id}", kits.one, OWNED, name="kit"),
    route("/kits/{kit_id:id}", kits.change, OWNED, methods=POST, name="kit_change"),
    route("/kits/{kit_id:id}/remove", kits.remove, OWNED, methods=POST, name="kit_remove"),
    route("/kits/{kit_id:id}/default", kits.make_default, OWNED, methods=POST, name="kit_make_default"),
    # Uploads, files, live notices
    route("/uploads", uploads.options, PUBLIC, methods=("OPTIONS",), name="upload_options"),
    route("/uploads", uploads.unfinished, SIGNED_IN, name="uploads"),
    route("/uploads", uploads.create, SIGNED_IN, methods=POST, name="upload_create"),
    route("/uploads/{upload_id:uuid}", uploads.head, OWNED, methods=("HEAD",), name="upload"),
    route(
        "/uploads/{upload_id:uuid}",
        uploads.append,
        OWNED,
        methods=("PATCH",),
        name="upload_append",
        paced=False,
    ),
    route(
        "/uploads/{upload_id:uuid}", uploads.terminate, OWNED, methods=("DELETE",), name="upload_terminate"
    ),
    route("/uploads/{upload_id:uuid}/finish", uploads.finish, OWNED, methods=POST, name="upload_finish"),
    route("/uploads/{upload_id:uuid}/drop", uploads.drop, OWNED, methods=POST, name="upload_drop"),
    route("/media/{token}", media.file, WORLD, name="media"),
    route("/live", live.stream, SIGNED_IN, name="live"),
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
    api("/api/videos/{video_id:id}/process", api_videos.process, OWNED, methods=POST),
    api("/api/videos/{video_id:id}/look", api_videos.look, OWNED, methods=POST),
    api("/api/videos/{video_id:id}/poster", api_videos.poster, OWNED, methods=POST),
    api("/api/publications", api_publications.listed, SIGNED_IN),
    api("/api/publications", api_publications.create, SIGNED_IN, methods=POST),
    api("/api/publications/{publication_id:id}", api_publications.get, OWNED),
    api("/api/publications/{publication_id:id}", api_publications.change, OWNED, methods=("PATCH",)),
    api("/api/publications/{publication_id:id}", api_publications.cancel, OWNED, methods=("DELETE",)),
    api("/api/targets/{target_id:id}/retry", api_publications.retry_target, OWNED, methods=POST),
    api("/api/targets/{target_id:id}/cancel", api_publications.cancel_target, OWNED, methods=POST),
    api("/api/targets/{target_id:id}/settle", api_publications.settle_target, OWNED, methods=POST),
    api("/api/batches", api_batches.create, SIGNED_IN, methods=POST),
    api("/api/batches/{batch_id:id}", api_batches.get, OWNED),
    api("/api/batches/{batch_id:id}/retry", api_batches.retry, OWNED, methods=POST),
    api("/api/batches/{batch_id:id}/cancel", api_batches.cancel, OWNED, methods=POST),
    api("/api/batches/{batch_id:id}/items/{item_id:id}/file", api_batches.fill, OWNED, methods=POST),
]
