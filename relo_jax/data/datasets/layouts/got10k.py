"""GOT-10k (Huang et al., TPAMI 2021): 9,335 sequences for training, 180 each for validation and test.

"vottrain" is training without the sequences that the VOT challenge forbids and without "votval"; published trackers
train on it. What it leaves out are lists of positions in the training split (`data/got10k/`). A frame is visible where
the target is not absent and a part of it is uncovered (cover is 0 to 8, in eighths); that the image border cuts it does
not count. Its toolkit measures all frames with a part uncovered, those marked as absent too. Of the test split only the
first box is public.
"""

from collections.abc import Iterator
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_flags, read_text
from relo_jax.data.datasets.layout import DatasetLayout, Entry, Record, list_frames, record
from relo_jax.errors import UserError

_FOLDERS = {"vottrain": "train", "votval": "train"}
_LABELS = ("absence.label", "cover.label", "meta_info.ini")


def _entries(root: Path, split: str) -> list[Entry]:
    folder = _FOLDERS.get(split, split)
    if not (root / folder).is_dir():
        raise LAYOUT.not_found(root, f"folder {folder}")
    file = root / folder / "list.txt"
    if not file.is_file():
        raise UserError(f"{file}: the list of sequences is missing: extract it again, or write their names, one a line")
    names = split_lists.read_list(file)
    odd = next((name for name in names if not name.rpartition("_")[2].isdecimal()), None)
    if odd is not None:
        raise UserError(f"{file}: {odd!r} is no name of a sequence, they end in _ and a number: extract the list again")
    keep = _wanted(split)
    files = ("groundtruth.txt", *(() if split == "test" else _LABELS), "")
    return [Entry(name, tuple(f"{folder}/{name}/{file}".rstrip("/") for file in files)) for name in names if keep(name)]


def _wanted(split: str):
    """Whether a sequence of a folder is of the split, as a function of its name, whose number counts from 1."""
    if split not in _FOLDERS:
        return lambda name: True
    validation = {int(n) for n in split_lists.official("got10k", "votval.txt")}
    if split == "votval":
        return lambda name: _position(name) in validation
    left_out = validation | {int(n) for n in split_lists.official("got10k", "vot_excluded.txt")}
    return lambda name: _position(name) not in left_out


def _position(name: str) -> int:
    return int(name.rpartition("_")[2]) - 1


def _read(root: Path, entry: Entry) -> Iterator[Record]:
    text, *labels, folder = entry.files
    boxes, absent, shown, category = read_boxes(root / text), {}, None, None
    if labels:
        absence, cover, about = labels
        shown = read_flags(root / cover) > 0
        absent = {absence: read_flags(root / absence) > 0, cover: ~shown}
        category = _category(root / about)
    yield record(
        entry.name, folder, list_frames(root / folder), boxes,
        text=text, absent=absent, shown=shown, category=category, first_box_only=not labels,
    )  # fmt: skip


def _category(path: Path) -> str | None:
    """The class of the target by the file about its sequence; None where there is none."""
    if not path.is_file():
        return None
    fields = dict(line.partition(":")[::2] for line in read_text(path).splitlines())
    return fields.get("object_class", "").strip() or None


LAYOUT = DatasetLayout(
    name="got10k",
    title="GOT-10k",
    folders=("GOT-10k", "GOT10k", "got10k", "GOT_10k"),
    splits={"vottrain": 7086, "votval": 1249, "train": 9335, "val": 180, "test": 180},
    train="vottrain",
    heldout="val",
    layout="{train, val, test}/{list.txt, GOT-10k_Train_000001/{groundtruth.txt, absence.label, 00000001.jpg}}",
    entries=_entries,
    read=_read,
)
