"""The house's own PostgreSQL: finds server programs, makes a data folder and runs one server for all who ask.

Knows processes, folders and locks; opens no connection and knows no table. One server for one home folder,
shared by every process that calls `start`; the last one that leaves stops it. Who is using it is kept by the
kernel (`flock`), so it stays true however a process dies. The server listens on a Unix socket in a folder of
mode 0700 and nowhere else: no port and no password. Linux and macOS.
"""

from app.postgres.programs import Binaries as Binaries
from app.postgres.programs import find_binaries as find_binaries
from app.postgres.server import Server as Server
from app.postgres.server import start as start
