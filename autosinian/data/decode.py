"""Image files to pixels, with one clear line for a file that is none."""

from pathlib import Path
from typing import BinaryIO

from PIL import Image

from autosinian.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png")


def decode(source: Path | BinaryIO, where: str) -> Image.Image:
    """The whole image in mode RGB; `where` names it in the message of an `InputError`."""
    try:
        with Image.open(source) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"{where} does not exist; add the image or take it out") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow tells a damaged PNG by SyntaxError and a damaged header by ValueError.
        reason = " ".join(str(error).split())
        raise InputError(f"{where} must be a whole image, but: {reason}; replace it") from error
