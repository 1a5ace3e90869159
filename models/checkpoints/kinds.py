"""What a file is, told from its first bytes: one of the three kinds that are read, or a sentence saying what it is."""

from __future__ import annotations

from typing import Literal

from bench.models.checkpoints.source import Source

Kind = Literal["safetensors", "torch", "torch-legacy"]
"""safetensors; the zip archive that torch.save writes since 1.6; the row of pickles it wrote before."""

LOOKED_AT = 512
OTHERS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file it points to; run `git lfs pull`"),
    (b"\x89PNG", "is a PNG picture"),
    (b"\xff\xd8\xff", "is a JPEG picture"),
    (b"GIF8", "is a GIF picture"),
    (b"RIFF", "is a RIFF media file"),
    (b"%PDF", "is a PDF document"),
    (b"\x1f\x8b", "is gzip-compressed; unpack it first"),
    (b"BZh", "is bzip2-compressed; unpack it first"),
    (b"\xfd7zXZ", "is xz-compressed; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is zstd-compressed; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"\x89HDF", "is an HDF5 file (Keras?), which is not read"),
    (b"\x93NUMPY", "is a NumPy array, not a checkpoint"),
    (b"\x7fELF", "is a program"),
    (b"MZ", "is a program"),
    (b"GGUF", "is a GGUF file, which is not read"),
    (b"PK\x05\x06", "is an empty zip archive"),
    (b"#!", "is a script"),
)
WEB_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")


def kind_of(source: Source) -> Kind:
    """Which reader the file needs. Raises BadCheckpoint saying what the file is when it is no checkpoint."""
    head = bytes(source.read(0, min(LOOKED_AT, source.size)))
    kind = _kind(head)
    if kind is None:
        raise source.refuse(f"{_description(head)}, and a safetensors file or a torch checkpoint was expected")
    if source.path.suffix == ".safetensors" and kind != "safetensors":
        raise source.refuse("is named .safetensors but holds a torch archive; whoever renamed it hid what it is")
    return kind


def _kind(head: bytes) -> Kind | None:
    if head.startswith(b"PK\x03\x04"):
        return "torch"
    if head[0] == 0x80 and len(head) > 1 and 2 <= head[1] <= 5:
        return "torch-legacy"
    # A length in eight bytes, then JSON. The two highest bytes of a sane length are zero.
    if len(head) > 8 and head[6:8] == b"\0\0" and head[8:9] == b"{":
        return "safetensors"
    return None


def _description(head: bytes) -> str:
    for magic, sentence in OTHERS:
        if head.startswith(magic):
            return sentence
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it first"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGES):
        return "is a web page (HTML), probably an error or sign-in page saved under this name"
    if not any(head):
        return "is filled with zeros; the transfer was not finished"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return f"is text that begins {head[:40].decode('ascii')!r}"
    return f"begins with the bytes {head[:8].hex(' ')}, which no checkpoint does"
