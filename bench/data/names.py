"""Which files are pictures, by their names, and how a name that anybody may have chosen is shown.

A name from a folder or archive can hold bytes that are no UTF-8 (Python keeps them as lone surrogates), control
characters, or thousands of letters. It is used as it is, and shown through `shown_name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""Of the files that are read, in any case: those that pytorch-fid reads."""
SUFFIXES_IN_WORDS: Final = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
UNREAD_SUFFIXES: Final = frozenset(
    {".apng", ".avif", ".avifs", ".bpg", ".flif", ".gif", ".heic", ".heif", ".hif", ".jxl", ".mng"}
    | {".dib", ".ico", ".icns", ".cur", ".pcx", ".tga", ".qoi", ".sgi", ".rgb", ".rgba", ".ras", ".dds", ".mpo"}
    | {".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpm", ".jpx", ".jfi", ".jfif", ".jif", ".jpe", ".jxr", ".wdp"}
    | {".pam", ".pbm", ".pfm", ".pnm", ".xbm", ".xpm", ".exr", ".hdr", ".fits", ".dcm"}
    | {
        ".arw",
        ".cr2",
        ".cr3",
        ".dng",
        ".nef",
        ".orf",
        ".raf",
        ".rw2",
        ".psd",
        ".xcf",
        ".svg",
        ".svgz",
        ".eps",
        ".emf",
        ".wmf",
        ".pict",
    }
)
"""Of files that look like pictures and are not read."""
HIDDEN: Final = "hidden"
LONGEST_NAME: Final = 400
"""Characters of a name that are shown."""


def has_image_name(name: str) -> bool:
    """Whether a file of this relative name is read: a known suffix, and nothing hidden on the way."""
    return name.lower().endswith(SUFFIXES) and not _is_hidden(name)


def unread_kind(name: str) -> str:
    """For a file that looks like a picture and is not read its suffix, or `hidden`; otherwise nothing."""
    parts = name.lower().split("/")
    if "__macosx" in parts or parts[-1].startswith("._"):  # what macOS puts beside files
        return ""
    suffix = f".{parts[-1].rpartition('.')[2]}"
    if suffix not in SUFFIXES and suffix not in UNREAD_SUFFIXES:
        return ""
    return HIDDEN if _is_hidden(name) else suffix if suffix in UNREAD_SUFFIXES else ""


def left_out_note(left_out: Mapping[str, int]) -> tuple[str, ...]:
    """The sentence for files that look like pictures and are not read, none when there are none.

    left_out: their number by `unread_kind`.
    """
    total = sum(left_out.values())
    if not total:
        return ()
    ranked = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in ranked)
    files = "file that looks like an image was" if total == 1 else "files that look like images were"
    return (f"{total:,} {files} left out ({kinds}); read are {SUFFIXES_IN_WORDS}",)


def shown_name(name: str | Path, longest: int = LONGEST_NAME) -> str:
    """A name for a message: bytes that are no UTF-8 as `\\xe9`, no control character, and never endless."""
    text = "".join(character if character.isprintable() else _escaped(character) for character in str(name))
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _escaped(character: str) -> str:
    code = ord(character)
    # Python keeps a byte b that is no UTF-8 as the surrogate U+DC00 + b.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
