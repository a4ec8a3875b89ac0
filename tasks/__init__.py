"""The workers' door: `procrastinate --app=tasks.procrastinate_app worker`. It joins policy and step, and
decides nothing.

Importing it reads the settings and connects to nothing; a setting that cannot be used ends the start with one
line each.
"""

from app import config, queue, videos

try:
    config.get()
except config.ConfigError as error:
    raise SystemExit("\n".join(error.problems)) from None

procrastinate_app = queue.HouseApp(
    import_paths=["tasks.accounts", "tasks.publishing", "tasks.upkeep", "tasks.videos"],
    at_start=videos.ready_to_make,
)
task = procrastinate_app.bind
