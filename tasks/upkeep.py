"""House-wide timers: the slow net under the rescue, and the broom."""

from app import accounts, config, db, dedup, jobs, limits, publishing, queue, storage, users, videos
from tasks import task


@task(jobs.RESCUE_STALLED, cron=queue.cron_every(config.get().stalled_check_s))
async def rescue_stalled() -> None:
    async with db.house() as conn:
        await queue.put_back_unowned(conn)
        await queue.forget_workers(conn)
        await queue.forget_tallies(conn)
        await publishing.ask_about_unsettled(conn)
        await publishing.put_back_stranded(conn)
        await videos.put_back_stranded(conn)
        await videos.put_back_streams(conn)


@task(jobs.SWEEP, cron="17 * * * *", idle_s=86_400)
async def sweep() -> None:
    await videos.uploads.sweep()
    await storage.sweep(alive=await videos.uploads.living())
    await videos.sweep_streams()
    await videos.sweep_orphans()
    async with db.house() as conn:
        await limits.forget(conn)
        await queue.forget_tallies(conn)
        await dedup.forget_old(conn)
        await accounts.forget_states(conn)
        await publishing.forget_calls(conn)
        await publishing.rederive(conn)
        await users.forget_sessions(conn)
        await users.forget_failures(conn)
    while True:
        async with db.house() as conn:
            if not await queue.sweep(conn):
                break
