"""A user's folder of images with map files: ImageNet, or any other set in the same form."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from autosinian.content import content_key
from autosinian.data.dataset import Dataset, require_folder
from autosinian.data.decode import decode
from autosinian.data.maps import MapLine, read_map
from autosinian.data.preprocessing import imagenet_short_side
from autosinian.data.roles import LABELLED_ROLES, Role
from autosinian.data.samples import Samples
from autosinian.errors import InputError

SPLIT_SEED = 0
BATCH_NORM_SAMPLES = 2_000  # ofa's own number for batch-norm recalibration
SEARCH_SAMPLES = 5_000
SEARCH_SHARE = 5  # at most one of so many validation images is given to searching
CALIBRATION_SAMPLES = 500  # as many as MLPerf's calibration set for ImageNet has
CALIBRATION_SHARE = 10

Lines = tuple[MapLine, ...]


@dataclass(frozen=True)
class MapFiles:
    """The map files of a folder; each that is None is `<field>_map.txt` in the folder itself."""

    val: Path | None = None
    cal: Path | None = None
    train: Path | None = None
    search: Path | None = None


class MappedImages(Dataset):
    """Images listed in `val_map.txt`, `cal_map.txt` and, where there are, `train_map.txt` and
    `search_map.txt`.

    An image belongs to the first of the maps cal, train, search, val that lists it, and is dropped
    from the others. Then, each by a seeded choice: `batch_norm` is 2,000 images of the train map,
    or without one half of the cal map, whose other half is `calibration`; `search` is the search
    map, or without one a fifth of the val map but at most 5,000 images; `validation` is the rest
    of the val map. Where there is a val map and nothing else, a tenth of it but at most 500 images
    is first taken for `calibration`, and `batch_norm` has none.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self, name: str, path: Path | None, classes: int | None, maps: MapFiles | None = None
    ) -> None:
        self.name = name
        self._path = require_folder(name, path, "the folder of its images")
        if not self._path.is_dir():
            raise InputError(f"data set `{name}` needs a folder of images, but got `{path}`")
        self._maps = self._found(maps or MapFiles())
        if self._maps == MapFiles():
            raise InputError(
                f"data set `{name}` needs `val_map.txt` or `cal_map.txt`, but `{path}` has none; "
                "add them or give their paths"
            )
        self._given_classes = classes
        self.classes = classes if classes is not None else self._largest_label() + 1

    def describe(self) -> str:
        parts = []
        for role, lines in self._lines.items():
            if lines:
                parts.append(f"{role} = {len(lines):,} of `{lines[0].map.name}`")
        dropped = f"; {self._dropped:,} listed twice, used once" if self._dropped else ""
        return (
            f"`{self.name}`, {self.classes} classes, images in `{self._path}`: "
            f"{', '.join(parts) or 'no images'}{dropped}. Roles never share a file"
        )

    def short_side(self, resolution: int) -> int | None:
        return imagenet_short_side(resolution)

    def fingerprint(self, role: Role) -> str:
        entries = []
        for line in self._required(role):
            try:
                stat = (self._path / line.name).stat()
            except OSError as error:
                raise InputError(
                    f"{line.where}: image `{self._path / line.name}` cannot be read: "
                    f"{error.strerror}; add the image or take the line out"
                ) from error
            entries.append((line.name, line.label, stat.st_size, stat.st_mtime_ns))
        return content_key(self.name, self.classes, role, entries)

    def samples(self, role: Role) -> Samples:
        lines = self._required(role)
        labels = [line.label for line in lines if line.label is not None]

        def read(position: int) -> Image.Image:
            line = lines[position]
            path = self._path / line.name
            return decode(path, f"{line.where}: image `{path}`")

        return Samples(
            identities=tuple(line.name for line in lines),
            labels=np.array(labels, np.int64) if len(labels) == len(lines) else None,
            read=read,
        )

    def _required(self, role: Role) -> Lines:
        """The lines of a role; `InputError` where there is none, or a label is missing."""
        lines = self._lines[role]
        if not lines:
            source = {"train": "train", "calibration": "cal"}.get(role, "val")
            if role == "batch_norm":
                source = "cal" if self._maps.train is None else "train"
            path = getattr(self._maps, source) or self._path / f"{source}_map.txt"
            state = "leaves none for it" if path.is_file() else "does not exist"
            raise InputError(
                f"{role} must have at least one image, but map `{path}` {state}; "
                "list more images there or give another map"
            )
        if role in LABELLED_ROLES:
            for line in lines:
                if line.label is None:
                    raise InputError(
                        f"{line.where}: a label is needed for {role}, but `{line.name}` has none; "
                        f"write `{line.name}<TAB>label`"
                    )
        return lines

    @cached_property
    def _lines(self) -> dict[Role, Lines]:
        """The lines of every role, in the order of the maps."""
        cal, train, search, val = self._without_repeats
        if self._maps.train is not None:
            batch_norm, train = _divide(train, BATCH_NORM_SAMPLES)
        else:
            batch_norm, cal = _divide(cal, len(cal) // 2)
        if self._maps == MapFiles(val=self._maps.val):
            cal, val = _divide(val, min(CALIBRATION_SAMPLES, len(val) // CALIBRATION_SHARE))
        if self._maps.search is None:
            search, val = _divide(val, min(SEARCH_SAMPLES, len(val) // SEARCH_SHARE))
        return {
            "train": train,
            "batch_norm": batch_norm,
            "calibration": cal,
            "search": search,
            "validation": val,
        }

    @cached_property
    def _without_repeats(self) -> list[Lines]:
        """The maps cal, train, search, val, each without the images of those before it."""
        taken: set[str] = set()
        kept: list[Lines] = []
        for lines in self._all_lines:
            kept.append(tuple(line for line in lines if line.name not in taken))
            taken.update(line.name for line in lines)
        return kept

    @property
    def _dropped(self) -> int:
        return sum(map(len, self._all_lines)) - sum(map(len, self._without_repeats))

    @cached_property
    def _all_lines(self) -> list[Lines]:
        maps = self._maps
        return [
            read_map(path, labels_needed=needed, classes=self._given_classes) if path else ()
            for path, needed in (
                (maps.cal, False),
                (maps.train, False),
                (maps.search, True),
                (maps.val, True),
            )
        ]

    def _largest_label(self) -> int:
        labels = [line.label for lines in self._all_lines for line in lines]
        return max((label for label in labels if label is not None), default=0)

    def _found(self, maps: MapFiles) -> MapFiles:
        """`maps` with each that is not given taken from the folder where it is there."""
        for field in fields(maps):
            standard = self._path / f"{field.name}_map.txt"
            if getattr(maps, field.name) is None and standard.is_file():
                maps = replace(maps, **{field.name: standard})
        return maps


def _divide(lines: Lines, count: int) -> tuple[Lines, Lines]:
    """`count` lines by a seeded choice, and the others; both in their order."""
    chosen = set(np.random.default_rng(SPLIT_SEED).permutation(len(lines))[:count].tolist())
    return (
        tuple(line for i, line in enumerate(lines) if i in chosen),
        tuple(line for i, line in enumerate(lines) if i not in chosen),
    )
