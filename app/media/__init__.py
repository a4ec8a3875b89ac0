"""Looks into videos and makes new ones with ffmpeg. Paths and dataclasses in, paths and dataclasses out.

Knows no row, no job, no address: whoever calls has fetched the files and made a private folder for the run.
"""

from app.media.brand import Branded, brand
from app.media.captions import Caption, read_captions, vtt
from app.media.design import (
    ASPECTS,
    EFFECTS,
    FITS,
    MODES,
    Bookend,
    Captions,
    Design,
    Frame,
    Title,
    Watermark,
    read_design,
)
from app.media.ffmpeg import program, version
from app.media.limits import check
from app.media.logo import check_logo
from app.media.picture import LOGO_FIT, POST_FIT, Fit, Picture, optimise, still_probe
from app.media.picture import MAX_BYTES as MOST_PICTURE_BYTES
from app.media.preview import preview
from app.media.probe import Probe, probe
from app.media.profiles import FACEBOOK_REELS, INSTAGRAM_REELS, PROFILES, TIKTOK, YOUTUBE, Profile, together
from app.media.reading import Chapter, SoundFacts
from app.media.run import Run
from app.media.sniff import WANTED_BYTES, Kind, sniff, sniff_picture, why_not
from app.media.stills import Still
from app.media.typefaces import FONTS
from app.media.walls import isolation

__all__ = [
    "ASPECTS",
    "EFFECTS",
    "FACEBOOK_REELS",
    "FITS",
    "FONTS",
    "INSTAGRAM_REELS",
    "LOGO_FIT",
    "MODES",
    "MOST_PICTURE_BYTES",
    "POST_FIT",
    "PROFILES",
    "TIKTOK",
    "WANTED_BYTES",
    "YOUTUBE",
    "Bookend",
    "Branded",
    "Caption",
    "Captions",
    "Chapter",
    "Design",
    "Fit",
    "Frame",
    "Kind",
    "Picture",
    "Probe",
    "Profile",
    "Run",
    "SoundFacts",
    "Still",
    "Title",
    "Watermark",
    "brand",
    "check",
    "check_logo",
    "isolation",
    "optimise",
    "preview",
    "probe",
    "program",
    "read_captions",
    "read_design",
    "sniff",
    "sniff_picture",
    "still_probe",
    "together",
    "version",
    "vtt",
    "why_not",
]
