"""Keeping the connections alive."""

from app import accounts, jobs, publishing
from tasks import task


@task(jobs.RENEW_TOKENS, cron="*/10 * * * *")
async def renew_tokens() -> None:
    await accounts.renew_due(first=await publishing.beyond_access())
