"""Which addresses of Meta may be given an account's token. Facebook sheet, section 3.1, step 1."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.platforms.answers import Table
from app.platforms.base import App


def check(table: Table, app: App, url: str, *, base: str = "upload") -> None:
    """Permanent `upload_address_refused` unless `url` is under the app's base of that name.

    Over https and on that very host; while the simulator stands in, on the simulator's own. The token and the
    video go wherever the address says, so this is asked again whenever bytes are sent.
    """
    try:
        here, home = urlsplit(url), urlsplit(app.bases.get(base, ""))
        ports = (home.port,) if app.simulated else (None, 443, home.port)
        named = bool(home.hostname) and here.hostname == home.hostname and here.port in ports
    except ValueError:
        named = False
    # The simulator's own address may be plain http on this machine; Meta's never is.
    scheme = home.scheme if app.simulated and named else "https"
    if not named or here.scheme != scheme or "@" in here.netloc:
        raise table.error("upload_address_refused")
