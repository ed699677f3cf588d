"""GOT-10k (Huang et al., TPAMI 2021): 9,335 sequences for training, 180 each for validation and test.

"vottrain" is the training split without "votval" and without the sequences that the VOT challenge forbids; published
trackers train on it. The excluded sequences are listed in `data/got10k/` by their position in the training split. A
frame is visible if the target is not absent and partly uncovered (cover counts 0 to 8 eighths); being cut by the image
border does not matter. The benchmark's toolkit counts every partly uncovered frame, including those marked absent. The
test split publishes only the first box of a sequence.

The download of all splits has `full_data/train_data` and so on, with a folder for each archive of the training set.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from relo_jax.data.datasets import split_lists
from relo_jax.data.datasets.annotations import read_boxes, read_flags, read_text
from relo_jax.data.datasets.layout import Annotation, DatasetLayout, Entry
from relo_jax.data.datasets.listing import list_folders, list_frames
from relo_jax.errors import UserError

_FOLDERS = {"vottrain": "train", "votval": "train"}
_LABELS = ("absence.label", "cover.label", "meta_info.ini")


def _entries(root: Path, split: str) -> list[Entry]:
    base = _FOLDERS.get(split, split)
    folder = next((f for f in (base, f"{base}_data", f"full_data/{base}_data") if (root / f).is_dir()), None)
    if folder is None:
        if (root / "list.txt").is_file():
            raise UserError(f"{root}: has a list.txt, so it is one split of GOT-10k: give the folder above it")
        raise LAYOUT.not_found(root, f"folder {base}")
    file = root / folder / "list.txt"
    if not file.is_file():
        raise UserError(
            f"{file}: the list of sequences is missing: extract it again, or write their names, one per line"
        )
    names = split_lists.read_list(file)
    wrong = next((name for name in names if not name.rpartition("_")[2].isdecimal()), None)
    if wrong is not None:
        raise UserError(
            f"{file}: {wrong!r} is not the name of a sequence, which ends in _ and a number: extract the list again"
        )
    keep = _membership(split)
    files = ("groundtruth.txt", *(() if split == "test" else _LABELS), "")
    part = _parts(root / folder) if folder != base else {}
    return [
        Entry(name, tuple(f"{folder}/{part.get(name, '')}{name}/{file}".rstrip("/") for file in files))
        for name in names
        if keep(name)
    ]


def _parts(folder: Path) -> dict[str, str]:
    """Sequence -> the folder of its archive, `GOT-10k_Train_split_01/`, for those that are still in such a folder."""
    parts = [name for name in list_folders(folder) if "_split_" in name]
    return {name: f"{part}/" for part in parts for name in list_folders(folder / part)}


def _membership(split: str) -> Callable[[str], bool]:
    """A function of a sequence's name: whether the sequence of that folder belongs to the split."""
    if split not in _FOLDERS:
        return lambda name: True
    validation = {int(n) for n in split_lists.official("got10k", "votval.txt")}
    if split == "votval":
        return lambda name: _position(name) in validation
    left_out = validation | {int(n) for n in split_lists.official("got10k", "vot_excluded.txt")}
    return lambda name: _position(name) not in left_out


def _position(name: str) -> int:
    return int(name.rpartition("_")[2]) - 1  # names count from 1


def _read(root: Path, entry: Entry) -> Iterator[Annotation]:
    text, *labels, folder = entry.files
    boxes, absent, shown, category = read_boxes(root / text), {}, None, None
    if labels:
        absence, cover, meta_info = labels
        shown = read_flags(root / cover) > 0
        absent = {absence: read_flags(root / absence) > 0, cover: ~shown}
        category = _category(root / meta_info)
    yield Annotation.checked(
        entry.name, folder, list_frames(root / folder), boxes,
        file=text, absent=absent, shown=shown, category=category, first_box_only=not labels,
    )  # fmt: skip


def _category(path: Path) -> str | None:
    """The target's class from meta_info.ini; None if it is not there."""
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
    expected_paths="{train, val, test}/{list.txt, GOT-10k_Train_000001/{groundtruth.txt, absence.label, 00000001.jpg}}",
    entries=_entries,
    read=_read,
)
