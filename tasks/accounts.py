"""Keeping the connections alive."""

from app import accounts, jobs
from tasks import task


@task(jobs.RENEW_TOKENS, cron="*/10 * * * *")
async def renew_tokens() -> None:
    await accounts.renew_due()
