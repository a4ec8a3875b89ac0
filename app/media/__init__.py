"""Looks into videos and makes new ones with ffmpeg. Paths and dataclasses in, paths and dataclasses out.

Knows no row, no job, no address: whoever calls has fetched the files and made a private folder for the run.
"""

from app.media.brand import Branded, brand
from app.media.design import EFFECTS, Captions, Design, Title, Watermark, read_design
from app.media.ffmpeg import program, version
from app.media.graph import Still
from app.media.limits import check
from app.media.logo import check_logo
from app.media.plan import TIKTOK, Profile
from app.media.probe import Probe, probe
from app.media.run import Run
from app.media.sniff import WANTED_BYTES, Kind, sniff, why_not
from app.media.walls import isolation

__all__ = [
    "EFFECTS",
    "TIKTOK",
    "WANTED_BYTES",
    "Branded",
    "Captions",
    "Design",
    "Kind",
    "Probe",
    "Profile",
    "Run",
    "Still",
    "Title",
    "Watermark",
    "brand",
    "check",
    "check_logo",
    "isolation",
    "probe",
    "program",
    "read_design",
    "sniff",
    "version",
    "why_not",
]
