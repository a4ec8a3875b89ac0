"""What is due is put in line: in fairness between owners, at its time, and after an outage as each account wants it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from app import accounts, db, queue
from app.errors import Refused
from app.publishing import rows
from app.publishing.pictures import with_pictures
from app.publishing.rows import Media, State, Target
from app.publishing.when import When

# Later than this is an outage: what was due meanwhile does not go out all at once (S0.7).
OVERDUE = timedelta(minutes=15)
# So many at a time, each time in a commit of their own.
AT_ONCE = 200
HELD, MISSED, IN_TURN = "held", "missed", "in_turn"


@dataclass(frozen=True)
class Rule:
    """What an account wants after an outage, and whether it may post at all."""

    id: int
    state: str
    reason: str | None
    handle: str
    outage_policy: str
    outage_gap_s: int


async def release_all() -> int:
    """Put everything in line that is due, and end the job that asked for it; gives how many. May run in several
    places at once, and again.
    """
    released = 0
    while True:
        async with db.house() as conn:
            looked_at, put = await _round(conn, AT_ONCE)
            released += len(put)
            if looked_at < AT_ONCE:
                await queue.done(conn)
                return released


async def release_due(conn: db.Conn, *, most: int = AT_ONCE) -> list[Target]:
    """Put up to `most` targets in line that are due and whose video is ready; gives those. Of several owners each
    one's first comes before anybody's second.
    """
    return (await _round(conn, most))[1]


async def _round(conn: db.Conn, most: int) -> tuple[int, list[Target]]:
    await _keep_back(conn)
    due = await db.many(
        conn,
        Target,
        """
        WITH ranked AS (
             SELECT targets.id, row_number() OVER (PARTITION BY targets.workspace_id
                                                       ORDER BY targets.publish_at, targets.id) AS place
               FROM targets
               JOIN accounts ON accounts.id = targets.account_id AND accounts.state = 'connected'
              WHERE targets.state = 'scheduled' AND targets.publish_at <= now() AND targets.media IS NOT NULL
                AND targets.held_at IS NULL AND coalesce(targets.release_at, '-infinity') <= now())
        SELECT {targets.columns}
          FROM targets
          JOIN ranked ON ranked.id = targets.id
         WHERE targets.state = 'scheduled'
         ORDER BY ranked.place, targets.publish_at, targets.id
         LIMIT %s
           FOR UPDATE OF targets SKIP LOCKED""",
        [most],
    )
    now: datetime = await db.value(conn, "SELECT now()")
    late = [target for target in due if now - (target.release_at or target.publish_at) > OVERDUE]
    in_turn = await _after_outage(conn, late, now)
    late_ids = {target.id for target in late}
    # The order of the ranks is the order in which the queue gets them.
    going = [target for target in due if target.id not in late_ids or target.id in in_turn]
    return len(due), [await rows.put_in_line(conn, target) for target in going]


async def _keep_back(conn: db.Conn) -> None:
    """Say of each due target why it stays, when its account has to be connected again; fail it when that is gone."""
    kept = await db.many(
        conn,
        Target,
        """
        SELECT {targets.columns}
          FROM targets
          JOIN accounts ON accounts.id = targets.account_id AND accounts.state <> 'connected'
         WHERE targets.state = 'scheduled' AND targets.publish_at <= now() AND targets.media IS NOT NULL
           AND (accounts.state = 'disconnected' OR targets.reason_code IS DISTINCT FROM accounts.state)
         ORDER BY targets.publish_at
         LIMIT %s
           FOR UPDATE OF targets SKIP LOCKED""",
        [AT_ONCE],
    )
    rules = await _rules(conn, (target.account_id for target in kept))
    for target in kept:
        await _wait_for_account(conn, target, rules[target.account_id])


async def _wait_for_account(conn: db.Conn, target: Target, rule: Rule) -> None:
    if rule.state == accounts.DISCONNECTED:
        reason = f"@{rule.handle} is not connected any more. Connect it again, then retry."
        await rows.move(conn, target.id, State.FAILED, reason=reason, reason_code=accounts.DISCONNECTED)
        return
    reason = rule.reason or f"Connect @{rule.handle} again: the post waits for that."
    await note(conn, target, reason, accounts.NEEDS_RECONNECT)


async def note(conn: db.Conn, target: Target, reason: str | None, code: str | None) -> None:
    """Say of a planned target why it waits, and tell the pages that show it."""
    await conn.execute(
        "UPDATE targets SET reason = %s, reason_code = %s, changed_at = clock_timestamp() WHERE id = %s",
        [reason, code, target.id],
    )
    await rows.tell(conn, target)


async def _rules(conn: db.Conn, account_ids: Iterable[int]) -> dict[int, Rule]:
    found = await db.many(
        conn, Rule, "SELECT {columns} FROM accounts WHERE id = ANY (%s)", [sorted(set(account_ids))]
    )
    return {rule.id: rule for rule in found}


async def _after_outage(conn: db.Conn, late: Sequence[Target], now: datetime) -> set[int]:
    """Do with what is overdue as each account wants; gives those that go out now."""
    rules = await _rules(conn, (target.account_id for target in late))
    now_ids: set[int] = set()
    for rule in sorted(rules.values(), key=lambda rule: rule.id):
        of_account = sorted(
            (target for target in late if target.account_id == rule.id),
            key=lambda target: (target.publish_at, target.id),
        )
        if rule.outage_policy == "spread":
            now_ids |= await _spread(conn, rule, of_account, now)
            continue
        for target in of_account:
            was_due = f"It was due {_time(target)} and could not go out then."
            if rule.outage_policy == "hold":
                await conn.execute("UPDATE targets SET held_at = now() WHERE id = %s", [target.id])
                await note(conn, target, f"{was_due} Post it now, plan it anew, or skip it.", HELD)
            else:
                await rows.move(conn, target.id, State.MISSED, reason=was_due, reason_code=MISSED)
    return now_ids


async def _spread(conn: db.Conn, rule: Rule, late: Sequence[Target], now: datetime) -> set[int]:
    """Give each its turn, the account's gap apart from the last one; gives the one whose turn is now, if any."""
    # Of two rounds at once the second one sees the turns that the first one gave.
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('turns-of-account-' || %s, 0))", [rule.id]
    )
    last = await db.value(
        conn,
        """
        SELECT greatest((SELECT max(released_at) FROM targets WHERE account_id = %(id)s),
                        (SELECT max(release_at) FROM targets
                          WHERE account_id = %(id)s AND state = 'scheduled' AND release_at > now()))""",
        {"id": rule.id},
    )
    gap = timedelta(seconds=rule.outage_gap_s)
    turn = now if last is None else max(now, last + gap)
    going: set[int] = set()
    for target in late:
        if turn <= now:
            going.add(target.id)
        else:
            await conn.execute("UPDATE targets SET release_at = %s WHERE id = %s", [turn, target.id])
            shown = When.instant(turn, target.zone).local
            reason = (
                f"It was due {_time(target)} and could not go out then. It goes out in turn at {shown:%H:%M}."
            )
            await note(conn, target, reason, IN_TURN)
            await rows.set_alarm(conn, target.workspace_id, turn)
        turn += gap
    return going


def _time(target: Target) -> str:
    local = target.when.local
    assert local is not None
    return f"{local:%a} {local.day} {local:%b} {local:%H:%M}"


async def supply(conn: db.Conn, video_id: int, media: Media) -> None:
    """The video is ready: give its file to the planned targets and queue those that waited for it and are due. A second
    call changes nothing, one with another file only that.
    """
    found = await db.many(
        conn,
        Target,
        "SELECT {columns} FROM targets WHERE video_id = %s AND state = 'scheduled' FOR UPDATE",
        [video_id],
    )
    new = [await _give(conn, target, media) for target in found]
    if media.content_type.startswith("image/"):
        new += [await _give_later(conn, target) for target in await _naming(conn, video_id)]
    await go_if_due(conn, [target for target in new if target is not None])


async def _give(conn: db.Conn, target: Target, media: Media) -> Target | None:
    """Keep the file with this planned target; gives the target if it had waited for it, else None. One whose further
    pictures are not there yet goes on waiting, and says so: it is no trouble of the video's.
    """
    try:
        whole = await with_pictures(conn, media, target.choices, target.workspace_id)
    except Refused as refused:
        await note(conn, target, refused.message, refused.code)
        return None
    kept = whole.to_json(target.platform)
    other_file = target.media is not None and target.media.get("key") != media.key
    # What was begun with another file is not gone on with; what may be out already stays as it is.
    if other_file and await db.value(conn, "SELECT close_attempt_unsent(%s)", [target.id]):
        return None
    await conn.execute("UPDATE targets SET media = %s WHERE id = %s", [Jsonb(kept), target.id])
    return replace(target, media=kept) if target.media is None else None


async def _naming(conn: db.Conn, video_id: int) -> list[Target]:
    """Planned carousels that wait for this picture."""
    return await db.many(
        conn,
        Target,
        """
        SELECT {columns}
          FROM targets
         WHERE state = 'scheduled' AND media IS NULL AND post -> 'pictures' @> %s
           FOR UPDATE""",
        [Jsonb([video_id])],
    )


async def _give_later(conn: db.Conn, target: Target) -> Target | None:
    kept = await db.value(conn, "SELECT media FROM video_to_post(%s)", [target.video_id])
    return None if kept is None else await _give(conn, target, Media(**kept))


async def go_if_due(conn: db.Conn, targets: Sequence[Target]) -> list[Target]:
    """Put those of these planned targets in line whose time has come and whose account may post; gives all of them as
    they are then. What was late for its video was not late by an outage: it goes at once.
    """
    now: datetime = await db.value(conn, "SELECT clock_timestamp()")
    rules = await _rules(conn, (target.account_id for target in targets))
    after = []
    for target in sorted(targets, key=lambda target: target.id):
        due = target.state == State.SCHEDULED and target.publish_at <= now and target.media is not None
        if not due or target.held_at is not None or (target.release_at or now) > now:
            after.append(target)
        elif rules[target.account_id].state == accounts.CONNECTED:
            after.append(await rows.put_in_line(conn, target))
        else:
            await _wait_for_account(conn, target, rules[target.account_id])
            after.append(await rows.get(conn, target.id))
    return after
