"""The look of a video as a form: its fields read into the words of a design, and a design's words as its fields.

Fields: logo (empty, `house` or `asset:<id>`), logoPosition, logoOpacity and logoScale in percent, logoMargin in pixels;
titleText, titlePosition, titleSize, titleColour, titleFont, titleOpacity in percent, titleMargin in pixels or empty;
frameAspect, frameFit, frameFocusX and frameFocusY in percent, frameColour; captionsMode (`off` or how they are shown),
captionsText, captionsLanguage, captionsSize, captionsPosition, captionsColour, captionsFont, captionsBox,
captionsBackground; intro, outro (empty or `asset:<id>`); effect-<name>; streams with stream-hls and stream-dash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app import media, videos

FIELD_OF = {
    "design.title.text": "titleText",
    "design.title.colour": "titleColour",
    "design.title.position": "titlePosition",
    "design.title.sizePercent": "titleSize",
    "design.title.font": "titleFont",
    "design.title.opacity": "titleOpacity",
    "design.title.marginPx": "titleMargin",
    "design.watermark.position": "logoPosition",
    "design.watermark.opacity": "logoOpacity",
    "design.watermark.marginPx": "logoMargin",
    "design.watermark.scale": "logoScale",
    "design.watermark.url": "logo",
    "design.frame.aspect": "frameAspect",
    "design.frame.fit": "frameFit",
    "design.frame.focusX": "frameFocusX",
    "design.frame.focusY": "frameFocusY",
    "design.frame.colour": "frameColour",
    "design.captions.srt": "captionsText",
    "design.captions.mode": "captionsMode",
    "design.captions.language": "captionsLanguage",
    "design.captions.sizePercent": "captionsSize",
    "design.captions.position": "captionsPosition",
    "design.captions.colour": "captionsColour",
    "design.captions.background": "captionsBackground",
    "design.captions.font": "captionsFont",
    "design.intro.url": "intro",
    "design.outro.url": "outro",
}
USUAL: Mapping[str, str] = {
    "logo": "",
    "logoPosition": media.Watermark.position,
    "logoOpacity": "100",
    "logoScale": "15",
    "logoMargin": "24",
    "titleText": "",
    "titlePosition": media.Title.position,
    "titleSize": "6",
    "titleColour": media.Title.colour,
    "titleFont": media.Title.font,
    "titleOpacity": "100",
    "titleMargin": "",
    "frameAspect": media.Frame.aspect,
    "frameFit": media.Frame.fit,
    "frameFocusX": "50",
    "frameFocusY": "50",
    "frameColour": media.Frame.colour,
    "captionsMode": "off",
    "captionsText": "",
    "captionsLanguage": "en",
    "captionsSize": "4.5",
    "captionsPosition": media.Captions.position,
    "captionsColour": media.Captions.colour,
    "captionsFont": media.Captions.font,
    "captionsBox": "",
    "captionsBackground": "#000000",
    "intro": "",
    "outro": "",
    "stream-hls": "1",
    "stream-dash": "1",
    **{f"effect-{name}": "" for name in media.EFFECTS},
}
# Shown by the frame instead of a box to tick.
IN_FRAME = "blur-fill"


def design_of(form: Mapping[str, str], *, style: bool = False) -> dict[str, Any]:
    """The design that the form asks for, in words for `media.read_design`, not yet checked.

    `style`: of a kit, whose title and captions say how without what.
    """
    design: dict[str, Any] = {}
    if logo := form.get("logo"):
        mark = {
            "position": form.get("logoPosition") or None,
            "opacity": _share(form.get("logoOpacity")),
            "marginPx": _number(form.get("logoMargin")),
            "scale": _share(form.get("logoScale")),
        }
        design["watermark"] = mark if logo == "house" else {"url": logo, **mark}
    if title := _title(form, style=style):
        design["title"] = title
    if captions := _captions(form, style=style):
        design["captions"] = captions
    if (aspect := form.get("frameAspect") or media.Frame.aspect) != media.Frame.aspect:
        design["frame"] = {
            "aspect": aspect,
            "fit": form.get("frameFit") or None,
            "focusX": _share(form.get("frameFocusX")),
            "focusY": _share(form.get("frameFocusY")),
            "colour": form.get("frameColour") or None,
        }
    for part in ("intro", "outro"):
        if url := form.get(part):
            design[part] = {"url": url}
    if effects := [name for name in media.EFFECTS if form.get(f"effect-{name}")]:
        design["effects"] = effects
    return design


def formats_of(form: Mapping[str, str]) -> list[str] | None:
    """What is to be made for players; None where the form does not ask."""
    if not form.get("streams"):
        return None
    return [name for name in videos.wishes.STREAMED if form.get(f"stream-{name}")]


def problems_of(form: Mapping[str, str]) -> dict[str, str]:
    """What is missing in the form alone, by its field."""
    if form.get("captionsMode", "off") != "off" and not form.get("captionsText", "").strip():
        return {"captionsText": "Choose a file with captions, or paste them; or switch captions off."}
    return {}


def named(problems: Mapping[str, str]) -> dict[str, str]:
    """A design's problems as sentences, by the form's fields."""
    return {FIELD_OF.get(name, name): sentence(text) for name, text in problems.items()}


def sentence(text: str) -> str:
    """`is missing` under its field as `Is missing.`"""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def fields_of(design: Mapping[str, Any], formats: list[str] | None = None) -> dict[str, str]:
    """The form's fields that show this design, a kit's too; every field is there."""
    fields = dict(USUAL)
    said = dict(design)
    if mark := said.get("watermark"):
        fields |= {
            "logo": mark.get("url") or "house",
            "logoPosition": mark.get("position", USUAL["logoPosition"]),
            "logoOpacity": _percent(mark.get("opacity", 1.0)),
            "logoScale": _percent(mark.get("scale", 0.15)),
            "logoMargin": _plain(mark.get("marginPx", 24)),
        }
    if title := said.get("title"):
        fields |= _kept(title, "title", ("text", "position", "colour", "font"))
        fields["titleSize"] = _plain(title.get("sizePercent", 6))
        fields["titleOpacity"] = _percent(title.get("opacity", 1.0))
        fields["titleMargin"] = _plain(title.get("marginPx"))
    if captions := said.get("captions"):
        fields |= _kept(captions, "captions", ("language", "position", "colour", "font", "background"))
        fields["captionsText"] = captions.get("srt") or ""
        fields["captionsMode"] = (
            captions.get("mode", media.Captions.mode) if captions.get("enabled") else "off"
        )
        fields["captionsSize"] = _plain(captions.get("sizePercent", 4.5))
        fields["captionsBox"] = "1" if captions.get("background") else ""
    effects = set(said.get("effects", ()))
    frame = said.get("frame") or {}
    if IN_FRAME in effects:
        effects.remove(IN_FRAME)
        frame = {**frame, "aspect": frame.get("aspect", "9:16"), "fit": "blur"}
    if frame:
        fields |= _kept(frame, "frame", ("aspect", "fit", "colour"))
        fields["frameFocusX"] = _percent(frame.get("focusX", 0.5))
        fields["frameFocusY"] = _percent(frame.get("focusY", 0.5))
    for part in ("intro", "outro"):
        fields[part] = (said.get(part) or {}).get("url", "")
    fields |= {f"effect-{name}": "1" for name in effects}
    if formats is not None:
        fields |= {f"stream-{name}": "1" if name in formats else "" for name in videos.wishes.STREAMED}
    return fields


def written(form: Mapping[str, str]) -> dict[str, str]:
    """The fields as a person has filled them in: what is not ticked is not sent."""
    boxes = {name: "" for name in USUAL if name.startswith(("effect-", "stream-")) or name == "captionsBox"}
    return {**USUAL, **boxes, **{name: text for name, text in form.items() if name in USUAL}}


def _title(form: Mapping[str, str], *, style: bool) -> dict[str, Any] | None:
    text = form.get("titleText", "").strip()
    if not text and not style:
        return None
    return {
        **({"text": text} if text else {}),
        "position": form.get("titlePosition") or None,
        "sizePercent": _number(form.get("titleSize")),
        "colour": form.get("titleColour") or None,
        "font": form.get("titleFont") or None,
        "opacity": _share(form.get("titleOpacity")),
        "marginPx": _number(form.get("titleMargin")),
    }


def _captions(form: Mapping[str, str], *, style: bool) -> dict[str, Any] | None:
    mode = form.get("captionsMode") or "off"
    if mode == "off" and not style:
        return None
    return {
        "enabled": not style,
        **({} if style else {"srt": form.get("captionsText") or None}),
        "mode": None if mode == "off" else mode,
        "language": form.get("captionsLanguage", "").strip() or None,
        "sizePercent": _number(form.get("captionsSize")),
        "position": form.get("captionsPosition") or None,
        "colour": form.get("captionsColour") or None,
        "background": (form.get("captionsBackground") or None) if form.get("captionsBox") else None,
        "font": form.get("captionsFont") or None,
    }


def _kept(part: Mapping[str, Any], name: str, words: tuple[str, ...]) -> dict[str, str]:
    return {f"{name}{word.capitalize()}": str(part[word]) for word in words if part.get(word) is not None}


def _number(text: str | None) -> float | str | None:
    """A number as such; what is none goes on as text, so that the reader of designs names the problem."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _share(text: str | None) -> float | str | None:
    number = _number(text)
    return number / 100 if isinstance(number, float) else number


def _percent(share: float) -> str:
    return _plain(round(100 * share, 2))


def _plain(number: float | None) -> str:
    """`15` rather than `15.0`; nothing for none."""
    return "" if number is None else f"{number:g}"
