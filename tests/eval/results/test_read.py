"""Result files of other trackers: every layout is read the same way, and every mistake is one clear line."""

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.eval.results import checks
from relo_jax.eval.results.read import beside, find_results, match_results, read_result, read_scores, read_times

TRUTH = (20.0, 30.0, 40.0, 50.0)
BOXES = np.array([TRUTH, (21.5, 30, 40, 50.25), (23, 31, 41, 50)])


def text(boxes=BOXES, separator=","):
    return "".join(separator.join(f"{v:g}" for v in box) + "\n" for box in boxes)


@pytest.fixture
def write(tmp_path):
    """write(name, text) -> path"""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text(separator="\t"),
        text(separator=" "),
        text(separator=";"),
        text(separator=", "),
        text().replace("\n", "\r\n"),
        text() + "\n\n",
        text().rstrip(),
        "\ufeff" + text(),
        text().replace("23,31", "2.3e1,3.1E+01"),
        text().replace("21.5,30,40,50.25", "21.5\t30 40;  50.25"),
        text().replace("\n", ",\n"),
    ],
)
def test_every_way_to_write_boxes_is_read(write, content):
    result = read_result(write("a.txt", content), 3, first=TRUTH)
    assert result.boxes_xywh.dtype == np.float64 and result.notes == ()
    np.testing.assert_array_equal(result.boxes_xywh, BOXES)


def test_whole_numbers_are_a_rounded_first_box(write):
    path = write("a.txt", "19\t30\t41\t50\n1\t2\t3\t4\n")
    assert read_result(path, 2, first=(19.6, 30.4, 40.9, 50.2)).notes == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.txt: is empty: run the tracker"),
        (" \n\n", "a.txt: is empty"),
        (text(BOXES[1:]), "has 2 boxes for 3 frames, 1 too few: write a line for the first frame too, with"),
        (text(BOXES[:1]), "has 1 boxes for 3 frames, 2 too few: run the tracker to the sequence's end"),
        (text([*BOXES, BOXES[2], BOXES[2]]), "has 5 boxes for 3 frames, 2 too many"),
        (text().replace("23,31", "nan,31"), "line 3: nan,31,41,50 is not a box: a result has a box in every frame"),
        (text().replace("21.5", "inf").replace("23", "-inf"), r"line 2: inf,30,40,50.25 is not a box \(and 1 more\)"),
        (text().replace("21.5", "1e300"), "line 2: 1e.300,30,40,50.25 is not a box"),
        (text().replace("40,50.25", "-40,50.25"), "line 2: 21.5,30,-40,50.25 has a negative size: a box is x,y,w,h"),
        (text().replace("21.5,", ""), "line 2: has 3 numbers, '30 40 50.25': expected x,y,w,h"),
        (text().replace("50.25", "50.25,0.9"), "line 2: has 5 numbers"),
        ("x,y,w,h\n" + text(), "line 1: 'x' is not a number: expected x,y,w,h"),
        (text().replace("21.5", "2_1"), "line 2: '2_1' is not a number"),
        (text().replace("21.5,30,40,50.25\n", "\n"), "line 2: has nothing"),
        (text(BOXES + [0, 0, *TRUTH[:2]]), "its boxes are x1,y1,x2,y2 .20,30,60,80 for the true .* write x,y,w,h"),
        (
            text(BOXES + [90, 0, 0, 0]),
            "its first box is 110,30,40,50, the true one 20,30,40,50: does it belong to another seq",
        ),
        (text(BOXES / 640), "write pixels, not fractions of the frame"),
        (b"\xff\xfe1\x00,\x002\x00", "cannot be read as text"),
    ],
)
def test_a_mistake_is_one_line_with_what_to_do(write, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_result(write("a.txt", content), 3, first=TRUTH)
    assert "\n" not in str(caught.value) and "a.txt" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="a.txt: there is no such file"):
        read_result(tmp_path / "a.txt", 3)


def test_boxes_counted_from_1_are_noticed_and_shifted_when_asked(write):
    path = write("a.txt", text(BOXES + [1, 1, 0, 0]))
    assert read_result(path, 3, first=TRUTH).notes == (
        "its first box is the true one with 1 added to x and y: are pixels counted from 1?",
    )
    shifted = read_result(path, 3, first=TRUTH, one_based=True)
    assert shifted.notes == ()
    np.testing.assert_array_equal(shifted.boxes_xywh, BOXES)


def test_something_unusual_is_noted(write):
    odd = BOXES + [4.5, 0, 0, 0]
    odd[1:, 2] = 0
    assert read_result(write("a.txt", text(odd)), 3, first=TRUTH).notes == (
        "its first box differs from the true one by up to 4.5 pixels",
        "2 of 3 boxes have no area",
    )


def test_layouts_are_found_and_files_beside_the_boxes_are_not_mistaken_for_boxes(write, tmp_path):
    for end in ("", "_time", "_score", "_all_boxes", "_all_scores", "_object_presence_scores"):
        write(f"flat/Car-1{end}.txt", text())
    write("flat/on_time.txt", text())
    write("flat/run.json", "{}")
    assert list(find_results(tmp_path / "flat")) == ["Car-1", "on_time"]

    write("got/GOT-10k_Val_000001/GOT-10k_Val_000001_001.txt", text())
    write("got/GOT-10k_Val_000001/GOT-10k_Val_000001_002.txt", text())
    times = write("got/GOT-10k_Val_000001/GOT-10k_Val_000001_time.txt", "0.1,0.3\n0.2,0.4\n0.3,0.5\n")
    found = find_results(tmp_path / "got")
    assert list(found) == ["GOT-10k_Val_000001"]
    path = found["GOT-10k_Val_000001"]
    assert read_result(path, 3).notes == ("the first of 2 repetitions; the others are not read",)
    assert beside(path, "time") == times
    assert read_times(times, 3).tolist() == [0.1, 0.2, 0.3]

    flat = write("got/GOT-10k_Val_000001.txt", text())
    assert find_results(tmp_path / "got") == {"GOT-10k_Val_000001": flat}

    write("otb/Car1.txt", text())
    assert beside(tmp_path / "otb" / "Car1.txt", "time") is None
    times = write("otb/times/Car1_time.txt", "0.1\n")
    assert beside(tmp_path / "otb" / "Car1.txt", "time") == times


def test_a_folder_for_each_dataset(write, tmp_path):
    write("ours/lasot/airplane-1.txt", text())
    assert list(find_results(tmp_path / "ours")) == ["airplane-1"]
    write("ours/got10k/GOT-10k_Test_000001.txt", text())
    with pytest.raises(UserError, match=r"results in several folders \(got10k, lasot\): name one"):
        find_results(tmp_path / "ours")
    assert list(find_results(tmp_path / "ours", ("GOT-10k",))) == ["GOT-10k_Test_000001"]
    write("ours/bird1_1.txt", text())
    assert list(find_results(tmp_path / "ours")) == ["bird1_1"]
    assert list(find_results(tmp_path / "ours", ("LaSOT",))) == ["airplane-1"]


def test_a_folder_that_is_not_there_has_those_beside_it_in_its_message(write, tmp_path):
    for name in ("seqs", "lasot", "notes"):
        write(f"results/{name}/{'bear-1' if name != 'notes' else 'inner/more'}.txt", text())
    with pytest.raises(UserError, match=r"results/folder: no such folder of results \(.*results has lasot, seqs\)$"):
        find_results(tmp_path / "results" / "folder")
    for lost in (tmp_path / "nowhere" / "folder", tmp_path / "none"):
        with pytest.raises(UserError, match="no such folder of results$"):
            find_results(lost)


def test_no_results_are_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find_results(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no result files: expected <name>.txt"):
        find_results(tmp_path)


def test_names_of_pytracking_are_known(write, tmp_path):
    for name in ("uav_bike1", "Jogging_1", "nfs_Gymnastics", "car-2", "Car_2", "other"):
        write(f"{name}.txt", text())
    found = find_results(tmp_path)
    matched, left = match_results(["bike1", "Jogging.1", "Gymnastics", "Car.2", "car-2", "Dog"], found)
    assert {name: path.stem for name, path in matched.items()} == {
        "bike1": "uav_bike1", "Jogging.1": "Jogging_1", "Gymnastics": "nfs_Gymnastics", "car-2": "car-2",
    }  # fmt: skip
    assert left == ["Car_2", "other"]
    matched, _ = match_results(["Car.2", "Car_2"], {"Car_2": tmp_path / "Car_2.txt"})
    assert list(matched) == ["Car_2"]  # a file is one sequence's


def test_times_and_scores_are_checked(write):
    with pytest.raises(UserError, match="has 2 times for 3 frames, 1 too few"):
        read_times(write("a_time.txt", "0.1\n0.2\n"), 3)
    with pytest.raises(UserError, match=r"line 2: -1 is not seconds \(and 1 more\)"):
        read_times(write("a_time.txt", "0.1\n-1\nnan\n"), 3)
    with pytest.raises(UserError, match="line 3: 1.5 is not a score from 0 to 1"):
        read_scores(write("a_score.txt", "1\n0.5\n1.5\n"), 3)
    assert read_scores(write("a_score.txt", "1\n0.5\n0\n"), 3).tolist() == [1, 0.5, 0]


def test_a_large_file_is_read_quickly_by_one_conversion(write, monkeypatch):
    """Two and a half thousand frames a sequence, hundreds of sequences: no number is converted by itself."""
    monkeypatch.setattr(checks, "_is_number", None)
    boxes = np.tile(BOXES, (800, 1))
    np.testing.assert_array_equal(read_result(write("a.txt", text(boxes)), 2400, first=TRUTH).boxes_xywh, boxes)
