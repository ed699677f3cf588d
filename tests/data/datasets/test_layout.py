"""What holds for every dataset in its official layout, and the functions that all layouts share."""

import os
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import index, layouts
from relo_jax.data.datasets.listing import list_folders, list_frames
from relo_jax.errors import UserError
from tests.data.opened import hidden, names, opened


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_every_split_reads_and_every_frame_shows_its_box(name, roots, tmp_path):
    for split in layouts.dataset_layout(name).splits:
        dataset = opened(name, split, roots, tmp_path)
        assert len(set(names(dataset))) == len(dataset) > 0
        for sequence in dataset:
            for k in np.flatnonzero(sequence.visible)[:3]:
                x, y, w, h = sequence.boxes_xywh[k]
                red, green, blue = sequence.read_frame(k)[round(y + h / 2), round(x + w / 2)].astype(int)
                assert green > 180 and blue < 90, (sequence.name, k)


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_empty_folders_and_packed_archives_are_named(name, tmp_path):
    layout = layouts.dataset_layout(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "part1.zip").write_bytes(b"PK")
    for split in layout.splits:
        with pytest.raises(UserError, match=f"{layout.title} is expected as"):
            opened(name, split, tmp_path / "empty", tmp_path / "cache")
        with pytest.raises(UserError, match=r"1 archives such as part1.zip: unpack"):
            opened(name, split, tmp_path / "packed", tmp_path / "cache")


@pytest.mark.parametrize("name", ["got10k", "trackingnet"])
def test_unpublished_boxes_of_a_test_split_are_nan_and_not_a_problem(name, roots, tmp_path):
    test = opened(name, "test", roots, tmp_path)
    for sequence in test:
        assert len(sequence) == miniature.FRAMES and hidden(sequence) == list(range(1, miniature.FRAMES))
        assert np.isfinite(sequence.boxes_xywh[0]).all() and np.isnan(sequence.boxes_xywh[1:]).all()
    assert test.problems == []


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_a_removed_frame_is_noticed_in_every_dataset(name, tmp_path):
    miniature.MAKERS[name](tmp_path / "root")
    layout = layouts.dataset_layout(name)
    split = layout.train or next(iter(layout.splits))
    open_index = lambda: index.open_index(layout, split, tmp_path / "root", tmp_path / "cache")
    before = open_index()
    Path(before[0].where(-1)).unlink()
    assert open_index().problems != before.problems


def _flat(root: Path) -> None:
    """Moves all sequences out of the folders of their classes."""
    for sequence in sorted(root.glob("*/*-*")):
        sequence.rename(root / sequence.name)


def _within(*names: str):
    """Moves all that is in a root into a folder in it."""

    def move(root: Path) -> None:
        root.rename(root.with_name("moved"))
        root.joinpath(*names[:-1]).mkdir(parents=True)
        root.with_name("moved").rename(root.joinpath(*names))

    return move


def _divided(root: Path) -> None:
    """LaSOT's splits in folders of their own, one with classes and one flat."""
    for path, sequence in (("testing_set", "airplane-1"), ("testing_set", "bear-2"), ("training_set/bear", "bear-1")):
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / sequence.split("-")[0] / sequence).rename(root / path / sequence)


def _renamed(**names: str):
    """Renames the entries of all folders in a root."""

    def rename(root: Path) -> None:
        for path in sorted(root.glob("*/*")):
            stem, dot, rest = path.name.partition(".")
            if stem in names:
                path.rename(path.with_name(names[stem] + dot + rest))

    return rename


def _beside_annotation(root: Path) -> None:
    for path in sorted(root.glob("*/img/*.jpg")):
        path.rename(path.parents[1] / path.name)
    for folder in root.glob("*/img"):
        folder.rmdir()


def _flat_tnl2k(root: Path) -> None:
    for sequence in sorted(root.glob("*/*")):
        sequence.rename(root / sequence.name)
    for part in root.glob("TNL2K_*"):
        part.rmdir()


def _full_data(root: Path) -> None:
    """GOT-10k as its authors' single download."""
    _within("full_data")(root)
    for split in ("train", "val", "test"):
        (root / "full_data" / split).rename(root / "full_data" / f"{split}_data")
    for number, name in enumerate(("GOT-10k_Train_000001", "GOT-10k_Train_000006"), 1):
        part = root / "full_data" / "train_data" / f"GOT-10k_Train_split_0{number}"
        part.mkdir()
        (part.parent / name).rename(part / name)


def _at_240(root: Path) -> None:
    """NFS without its folders of 30 frames a second; the frames between those of the benchmark are empty."""
    for name in ("bee", "Gymnastics"):
        (root / name / "240").mkdir()
        for number, path in enumerate(list_frames(root / name / "30" / name)):
            folder = root / name / "240" / name
            folder.mkdir(exist_ok=True)
            (root / name / "30" / name / path).rename(folder / f"{8 * number + 1:05d}.jpg")
            for between in range(8 * number + 2, 8 * number + 9):
                (folder / f"{between:05d}.jpg").touch()
        (root / name / "30" / f"{name}.txt").rename(root / name / "240" / f"{name}.txt")
        shutil.rmtree(root / name / "30")


COPIES = {
    "LaSOT flat": ("lasot", _flat),
    "LaSOT in its archive's folder": ("lasot", _within("LaSOTBenchmark")),
    "LaSOT in three folders": ("lasot", _within("LaSOT", "LaSOTBenchmark", "training")),
    "LaSOT by splits": ("lasot", _divided),
    "LaSOT_ext flat": ("lasot_ext", _flat),
    "LaSOT_ext in LaSOT's folder": ("lasot_ext", _within("LaSOT_extension_subset")),
    "GOT-10k's download": ("got10k", _full_data),
    "TNL2K flat": ("tnl2k", _flat_tnl2k),
    "TNL2K in test": ("tnl2k", lambda root: (root / "TNL2K_test_subset").rename(root / "test")),
    "OTB with groundtruth.txt": ("otb100", _renamed(groundtruth_rect="groundtruth", img="imgs")),
    "OTB without a folder of frames": ("otb100", _beside_annotation),
    "NFS at 240": ("nfs", _at_240),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_in_another_layout_has_the_same_sequences(copy, tmp_path):
    name, rearrange = COPIES[copy]
    layout, root = layouts.dataset_layout(name), tmp_path / "root"

    def read():
        datasets = [index.open_index(layout, split, root, tmp_path / "cache") for split in layout.splits]
        sequences = {
            (dataset.split, s.name): (s.boxes_xywh.tobytes(), s.visible.tolist(), s.category, s.read_encoded(3))
            for dataset in datasets
            for s in dataset
        }
        return sequences, [sorted((p.kind, p.fatal) for p in dataset.problems) for dataset in datasets]

    miniature.MAKERS[name](root)
    official = read()
    rearrange(root)
    assert read() == official and len(official[0]) > 1


def _lmdb(root: Path) -> None:
    (root / "lasot_lmdb").mkdir()
    (root / "lasot_lmdb" / "data.mdb").touch()


def _pysot(root: Path) -> None:
    (root / "bike1").mkdir()
    (root / "UAV123.json").touch()


REFUSED = {
    "an LMDB copy": (
        "lasot", "train", _lmdb,
        "lasot_lmdb: an LMDB copy of LaSOT is not read: unpack the authors' archives instead",
    ),
    "PySOT's JSON file": (
        "uav123", "test", _pysot,
        ": no data_seq/UAV123, but UAV123.json, PySOT's annotations, which are not read: unpack the authors' archives "
        "as {anno/UAV123/bird1_1.txt, data_seq/UAV123/bird1/000001.jpg}",
    ),
    "one split of GOT-10k": (
        "got10k", "train", lambda root: (root / "list.txt").touch(),
        ": has a list.txt, so it is one split of GOT-10k: give the folder above it",
    ),
    "NFS without its two rates": (
        "nfs", "test", lambda root: (root / "bee" / "img").mkdir(parents=True),
        ": no sequence of the benchmark; NFS is expected as bee/30/{bee[_pytracking].txt, bee/00001.jpg} or "
        "{anno/nfs_bee.txt, sequences/bee/00001.jpg}",
    ),
    "another dataset's sequences": (
        "lasot", "train", lambda root: (root / "Aardwolf" / "Aardwolf-1" / "imgs").mkdir(parents=True),
        ": no sequence of the train split; LaSOT is expected as airplane/airplane-1/{groundtruth.txt, "
        "full_occlusion.txt, out_of_view.txt, img/00000001.jpg}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_copy_that_is_not_read_is_named_with_the_remedy(case, tmp_path):
    name, split, make, message = REFUSED[case]
    make(tmp_path)
    with pytest.raises(UserError) as error:
        opened(name, split, tmp_path, tmp_path / "cache")
    assert str(error.value).removeprefix(f"{tmp_path}").removeprefix("/") == message


def test_a_built_dataset_next_to_the_authors_folder_is_not_mistaken_for_it(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    (tmp_path / "lasot" / "frames").mkdir(parents=True)
    assert layouts.dataset_layout("lasot").find_root(tmp_path) == tmp_path / "LaSOT"
    (tmp_path / "LaSOT").rename(tmp_path / "LASOT")
    shutil.rmtree(tmp_path / "lasot")
    assert layouts.dataset_layout("lasot").find_root(tmp_path) == tmp_path / "LASOT"


@pytest.mark.parametrize("name, folder", [("otb100", "Jogging/img"), ("tnl2k", "TNL2K_test_subset"), ("lasot", "bear")])
def test_a_folder_without_permission_is_not_taken_for_an_empty_one(name, folder, tmp_path, monkeypatch):
    miniature.MAKERS[name](tmp_path / "root")
    denied = tmp_path / "root" / folder

    def guarded(function, path):
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))
        return function(path)

    for function in (os.scandir, os.listdir):
        monkeypatch.setattr(os, function.__name__, partial(guarded, function))
    try:
        message = index.open_index(
            layouts.dataset_layout(name), "test", tmp_path / "root", tmp_path / "cache"
        ).summary()
    except UserError as error:
        message = str(error)
    assert f"{folder}: cannot be listed (Permission denied)" in message


def test_a_link_to_itself_is_not_a_folder_and_does_not_hide_others(tmp_path):
    (tmp_path / "bear").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert list_folders(tmp_path) == ["bear"]


@pytest.mark.parametrize(
    "names",
    [
        ["0.jpg", "1.jpg", "2.jpg", "10.jpg", "11.jpg"],
        ["0008.jpg", "0009.jpg", "0010.png"],
        ["img1_9.jpg", "img1_10.jpg", "img2_1.jpg"],
        ["1_9.jpg", "1_10.jpg", "2_1.jpg"],
    ],
)
def test_frames_are_listed_in_the_order_of_their_numbers(names, tmp_path):
    for name in (*reversed(names), "groundtruth.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    assert list_frames(tmp_path) == names


@pytest.mark.parametrize("box", ["1,1,1e-200,1e-200", "3,4,1e300,20", "1e12,5,30,30"])
def test_a_box_that_no_crop_can_be_cut_around_is_not_trained_on(box, tmp_path):
    """A single one would otherwise end a training run, days after its start."""
    miniature.lasot(tmp_path / "LaSOT")
    path = tmp_path / "LaSOT/airplane/airplane-2/groundtruth.txt"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:3], box, *rows[4:]]) + "\n")
    dataset = opened("lasot", "train", tmp_path, tmp_path / "cache")
    assert hidden(dataset[0]) == [3] and len(dataset) == 2
    (problem,) = dataset.problems
    assert problem.kind == "absurd boxes" and "first in line 4" in problem.detail and not problem.fatal


def test_the_page_on_datasets_lists_every_layout_and_every_kind_of_problem():
    text = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
    table = text.partition("## Folders and splits")[2].partition("\n## ")[0]
    rows = {row.split("|")[1].strip(" `"): row for row in table.splitlines() if row.startswith("| `")}
    assert set(rows) == set(layouts.NAMES)
    for name, row in rows.items():
        layout = layouts.dataset_layout(name)
        assert f"`{layout.folders[0]}`" in row
        for split, count in layout.splits.items():
            assert (f"{split} {count:,}" if count else split) in row, (name, split)
    for path in (Path(layouts.__file__).parents[1]).rglob("*.py"):
        for kind in re.findall(r'Problem\("([^"]+)"', path.read_text()):
            assert re.search(rf"^\| [^|]*{kind}[^|]* \| (fatal|note) \|", text, re.M), (path, kind)
