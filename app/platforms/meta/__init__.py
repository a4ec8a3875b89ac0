"""What Instagram and Facebook share at Meta: one call to a Graph host, its codes, its limits, its upload host.

    graph.ask      one call; errors become rows of the platform's table
    rows.common    the rows that mean the same on both platforms
    usage.told     what the usage headers of an answer say
    hosts.check    whether an address that Meta named may be given our token
    rupload.send   the bytes of a video, with resuming

Sources: facebook sheet (2026-11-22), sections 1, 4 and 5; instagram sheet, sections 4.3, 6 and 7.
"""

from __future__ import annotations

from app.platforms.meta import graph, hosts, rows, rupload, usage

__all__ = ["graph", "hosts", "rows", "rupload", "usage"]
