"""Files that are no checkpoint, told by what they begin with."""

import re
import zipfile
from pathlib import Path

from stvm.errors import StvmError

TORCH, SAFETENSORS = "torch", "safetensors"
_HEAD = 4096
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of files of torch.save before version 1.6."""
_AGAIN = "download or copy it again"
_SAVE = "save network.state_dict() alone with torch.save"
_ENDINGS = (".pth", ".pt", ".tar", ".ckpt", ".safetensors", ".bin")

_MAGIC = (
    (b"\x93NUMPY", f"is an array of numpy: {_SAVE}"),
    (b"\x89HDF\r\n", f"is an HDF5 file, as Keras writes: {_SAVE}"),
    (b"\x1f\x8b", "is compressed by gzip: unpack it and name the file in it"),
    (b"BZh", "is compressed by bzip2: unpack it and name the file in it"),
    (b"\xfd7zXZ", "is compressed by xz: unpack it and name the file in it"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it and name the file in it"),
    (b"Rar!", "is a RAR archive: unpack it and name the file in it"),
    (b"\x89PNG", "is an image: name the file of the weights"),
    (b"\xff\xd8\xff", "is an image: name the file of the weights"),
    (b"%PDF", "is a PDF document: name the file of the weights"),
)


def kind_of(path: Path) -> str:
    """`TORCH` or `SAFETENSORS`.

    Raises:
        StvmError: it is something else, or nothing; the message says what and what to do.
    """
    if path.is_dir():
        raise StvmError(f"checkpoint {path} is a folder: name a file{_files_in(path)}")
    with open(path, "rb") as file:
        start = file.read(_HEAD)
    if not start:
        raise StvmError(f"checkpoint {path} is empty: {_AGAIN}")
    if start.startswith(b"PK\x03\x04"):
        _refuse_other_zip(path)
        return TORCH
    if start.startswith(_LEGACY):
        return TORCH
    if start[8:9] == b"{" or path.suffix == ".safetensors":
        _refuse_page_or_text(path, start)
        return SAFETENSORS
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise StvmError(f"checkpoint {path} {what}")
    if start[257:262] == b"ustar":
        raise StvmError(f"checkpoint {path} is a tar archive: unpack it and name the file in it")
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise StvmError(
            f"checkpoint {path} is a pickle that torch.save did not write; code in it was not run: "
            f"with the code that wrote it {_SAVE}"
        )
    _refuse_page_or_text(path, start)
    if path.suffix == ".onnx" or (start[:1] == b"\x08" and b"onnx" in start[:200].lower()):
        raise StvmError(
            f"checkpoint {path} is an ONNX model, which does not keep the names of the weights: "
            f"{_SAVE}"
        )
    raise StvmError(
        f"checkpoint {path} is in no format that is read (it begins with {start[:8].hex(' ')}): "
        "give a file of torch.save or of safetensors"
    )


def _files_in(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.suffix in _ENDINGS)
    return f", as in {folder / names[0]}" if names else " in it"


def _refuse_page_or_text(path: Path, start: bytes) -> None:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:
            return
        text = start[: error.start].decode()
    if text.startswith("version https://git-lfs"):
        raise StvmError(
            f"checkpoint {path} is a pointer of Git LFS and not the file itself: run `git lfs "
            "pull` where it was cloned, or download the file from the web page"
        )
    low = text.lstrip().lower()
    if low.startswith(("<!doctype html", "<html", "<?xml")):
        title = re.search(r"<title>\s*(.*?)\s*</title>", text, re.IGNORECASE | re.DOTALL)
        named = f' ("{" ".join(title[1].split())[:80]}")' if title else ""
        raise StvmError(
            f"checkpoint {path} is a web page{named} and not a checkpoint: the download was "
            "refused or asked for a click; download it in a browser"
        )
    if all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        raise StvmError(
            f'checkpoint {path} is text (it begins with "{" ".join(text.split())[:40]}"): name the '
            "file of the weights"
        )


def _refuse_other_zip(path: Path) -> None:
    """Refuse archives other than those that torch.save writes since version 1.6."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise StvmError(
            f"checkpoint {path} is damaged or cut off ({path.stat().st_size:,} bytes): {_AGAIN}"
        ) from None
    inner = {name.partition("/")[2] for name in names} | set(names)
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        raise StvmError(
            f"checkpoint {path} is a TorchScript archive, which holds a program: with the code "
            f"that wrote it {_SAVE}"
        )
    if "data.pkl" in inner:
        return
    if names and all(name.endswith(".npy") for name in names):
        raise StvmError(f"checkpoint {path} holds arrays of numpy: {_SAVE}")
    weights = [name for name in names if name.endswith(_ENDINGS)] or names
    raise StvmError(
        f"checkpoint {path} is an archive of {len(names)} files ({', '.join(weights[:3])}"
        f"{', ...' if len(weights) > 3 else ''}): unpack it and name the file of the weights"
    )
