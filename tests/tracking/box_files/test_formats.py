"""Files of boxes come back as they were written; a mistake is one line with file, place and value."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from relo_jax.errors import UserError
from relo_jax.tracking.box_files import coco, cvat, mot
from relo_jax.tracking.box_files.formats import read_boxes, write_boxes
from relo_jax.tracking.box_files.tracks import BoxTrack, FilmFacts, TrackBox

FILM = FilmFacts("a & b.mp4", 320, 240, 12, 25.0)
TRACKS = [
    BoxTrack(1, "bird", [TrackBox(t, (10.5 + t, 20.25, 30.0, 8.125), 0.75, t != 5, time=t / 25) for t in range(3, 9)]),
    BoxTrack(7, "grey <dog>", [TrackBox(t, (1.0, 2.0 + t, 3.5, 4.0), 0.5, time=t / 25) for t in range(4, 12)]),
]


def plain(tracks):
    """The boxes of targets that were found, by target."""
    return {track.id: [(box.frame, box.box) for box in track.boxes if box.found] for track in tracks}


@pytest.mark.parametrize("name", ["boxes.txt", "boxes.xml", "boxes.json", "boxes.csv"])
def test_boxes_come_back_as_they_were_written(tmp_path, name):
    write_boxes(tmp_path / name, TRACKS, FILM)
    found = read_boxes(tmp_path / name)
    # MOT has no place for labels and for what is not found; CVAT has none for scores.
    expected = plain(TRACKS) if name != "boxes.txt" else {t.id: [(b.frame, b.box) for b in t.boxes] for t in TRACKS}
    assert plain(found) == expected
    assert [track.label for track in found] == ([t.label for t in TRACKS] if name != "boxes.txt" else ["target"] * 2)
    if name != "boxes.xml":
        assert [[box.score for box in track.boxes] for track in found] == [[0.75] * 6, [0.5] * 8]
    if name == "boxes.csv":
        assert found == [replace(track, boxes=[box._replace(key=True) for box in track.boxes]) for track in TRACKS]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_mot_counts_frames_from_1_and_goes_frame_by_frame(tmp_path):
    write_boxes(tmp_path / "o.txt", TRACKS, FILM)
    lines = (tmp_path / "o.txt").read_text().splitlines()
    assert lines[0] == "4,1,13.5000,20.2500,30.0000,8.1250,0.7500,-1,-1,-1" and len(lines) == 14
    assert [tuple(map(int, line.split(",")[:2])) for line in lines[1:4]] == [(5, 1), (5, 7), (6, 1)]


def test_the_table_has_times_and_whether_it_was_found(tmp_path):
    write_boxes(tmp_path / "o.csv", TRACKS, FILM)
    with open(tmp_path / "o.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "frame": "3", "time": "0.120000", "id": "1", "label": "bird", "x": "13.5000", "y": "20.2500", "w": "30.0000",
        "h": "8.1250", "score": "0.7500", "found": "1",
    }  # fmt: skip
    assert [row["found"] for row in rows if row["id"] == "1"] == ["1", "1", "0", "1", "1", "1"]


def test_coco_vid_has_a_video_its_frames_and_targets(tmp_path):
    write_boxes(tmp_path / "o.json", TRACKS, replace(FILM, files=[f"{t:03d}.jpg" for t in range(12)]))
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["videos"] == [{"id": 1, "name": "a & b.mp4", "width": 320, "height": 240, "fps": 25.0, "length": 12}]
    assert [image["frame_id"] for image in content["images"]] == list(range(3, 12))
    assert content["images"][0] == {
        "id": 4, "video_id": 1, "frame_id": 3, "file_name": "003.jpg", "width": 320, "height": 240, "time": 0.12,
    }  # fmt: skip
    names = {category["id"]: category["name"] for category in content["categories"]}
    images = {image["id"] for image in content["images"]}
    for row in content["annotations"]:
        assert row["image_id"] in images and row["track_id"] == row["instance_id"]
        assert names[row["category_id"]] == {1: "bird", 7: "grey <dog>"}[row["track_id"]]
        assert row["area"] == pytest.approx(row["bbox"][2] * row["bbox"][3]) and row["iscrowd"] == 0
    assert len({row["id"] for row in content["annotations"]}) == 14


def test_cvat_has_corners_and_is_outside_where_nothing_is_found(tmp_path):
    write_boxes(tmp_path / "o.xml", TRACKS, FILM)
    root = ElementTree.parse(tmp_path / "o.xml").getroot()
    assert root.findtext("meta/task/name") == "a & b.mp4" and root.findtext("meta/task/size") == "12"
    assert [label.text for label in root.iterfind("meta/task/labels/label/name")] == ["bird", "grey <dog>"]
    bird, dog = root.iterfind("track")
    shown = [(int(b.get("frame")), b.get("outside"), b.get("keyframe")) for b in bird.iterfind("box")]
    # After the last box the target is outside, which CVAT would otherwise hold to the end of the video.
    assert shown == [*[(t, "10"[t != 5], "1") for t in range(3, 9)], (9, "1", "1")]
    corners = [float(bird.find("box").get(name)) for name in ("xtl", "ytl", "xbr", "ybr")]
    assert corners == [13.5, 20.25, 43.5, 28.375] and bird.get("label") == "bird"
    assert [box.get("outside") for box in dog.iterfind("box")] == ["0"] * 8  # it is there to the last frame


def test_only_the_first_of_several_frames_outside_is_a_key_frame(tmp_path):
    track = BoxTrack(1, "bird", [TrackBox(t, (0.0, 0.0, 4.0, 4.0), found=t in (0, 3)) for t in range(4)])
    write_boxes(tmp_path / "o.xml", [track], replace(FILM, count=4))
    keys = [box.get("keyframe") for box in ElementTree.parse(tmp_path / "o.xml").getroot().iter("box")]
    assert keys == ["1", "1", "0", "1"]


def test_files_of_others_are_read(tmp_path):
    text = "1 2 3 4\nnan\tnan\tnan\tnan\n5,6,7,8\n"  # a line a frame: ground truth of a sequence
    (tmp_path / "groundtruth.txt").write_text(text)
    assert plain(read_boxes(tmp_path / "groundtruth.txt")) == {1: [(0, (1, 2, 3, 4)), (2, (5, 6, 7, 8))]}
    (tmp_path / "gt.txt").write_text("\ufeff2, 4, 1, 2, 3, 4, 1, 1, 0.5\r\n1, 4, 1, 2, 3, 4, 0, 1, 0.5\r\n")  # of MOT
    (track,) = read_boxes(tmp_path / "gt.txt")
    assert [(box.frame, box.found) for box in track.boxes] == [(0, False), (1, True)]
    (tmp_path / "o.csv").write_text("Frame, X , y,w,h,other\n" + "3,1,2,3,4,5\n")
    assert plain(read_boxes(tmp_path / "o.csv")) == {1: [(3, (1, 2, 3, 4))]}
    box = '<box frame="{}" outside="{}" keyframe="{}" xtl="1" ytl="2" xbr="4" ybr="6"><attribute name="a">b</attribute>'
    box += "</box>"
    track = f'<track id="0" label="car">{box.format(2, 0, 1)}{box.format(3, 0, 0)}{box.format(4, 1, 1)}</track>'
    (tmp_path / "o.xml").write_text(
        f'<annotations>{track}<track id="1" label="x"><points frame="0"/></track></annotations>'
    )
    (car,) = read_boxes(tmp_path / "o.xml")
    assert car.label == "car" and [(b.frame, b.key, b.found) for b in car.boxes] == [
        (2, True, True), (3, False, True), (4, True, False)
    ]  # fmt: skip


def test_a_video_of_a_coco_file_of_several_is_found_by_its_name(tmp_path):
    image = lambda id, video: {"id": id, "video_id": video, "frame_id": 0}
    row = lambda image, x: {"image_id": image, "instance_id": 3, "bbox": [x, 2, 3, 4]}
    content = {
        "videos": [{"id": "a", "name": "cars/one"}, {"id": "b", "name": "two.mp4"}],
        "images": [image(1, "a"), image(2, "b")],
        "annotations": [row(1, 10), row(2, 20)],
    }
    (tmp_path / "o.json").write_text(json.dumps(content))
    for name, x in (("one", 10), ("two.mp4", 20), ("two", 20)):
        assert plain(read_boxes(tmp_path / "o.json", video=name)) == {3: [(0, (x, 2, 3, 4))]}
    with pytest.raises(UserError, match=r"o.json has 2 videos \(cars/one, two.mp4\), and not one that is called three"):
        read_boxes(tmp_path / "o.json", video="three")


XML = '<annotations><track id="0" label="a">\n<box frame="0" xtl="1" ytl="2" xbr="3" ybr="4"/>\n</track></annotations>'
COCO = {
    "videos": [{"id": 1, "name": "a"}],
    "images": [{"id": 1, "video_id": 1, "frame_id": 0}],
    "annotations": [{"image_id": 1, "track_id": 1, "bbox": [1, 2, 3, 4]}],
}
FIRST = {"image_id": 1, "track_id": 1, "bbox": [1, 2, 3, 4]}


def coco_with(**fields):
    return json.dumps({**COCO, "annotations": [FIRST, {**FIRST, "track_id": 2, **fields}]})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("o.txt", "1,1,1,2,3,4,1\n2,1,1,2,x,4,1", "o.txt, line 2: w is 'x', which is not a number: expected frame,id"),
        ("o.txt", "0,1,1,2,3,4,1", "line 1: the frame is 0, which is not a whole number from 1"),
        ("o.txt", "1,-1,1,2,3,4,1", "line 1: the id is -1, a detection without a target"),
        ("o.txt", "1,1,1,2,3,4,1\n1,1,1,2,3,4,1", r"line 2: a second box of target 1 in frame 0 \(from 0\)"),
        ("o.txt", "1,2,3,4\n1,2,3", "line 2: has 3 numbers, '1 2 3'"),
        ("o.txt", "1,2,3,4\n1,2,nan,4", "line 2: w is nan, which is not finite"),
        ("o.txt", "1,2,3,4\n1,2,-3,4", "line 2: the box 1,2,-3,4 has a negative size"),
        ("o.txt", "1,2,3,1e10", "line 1: h is 1e10, which is not finite or too large"),
        ("o.txt", "", "o.txt has no boxes of targets: expected frame,id"),
        ("o.csv", "frame,x,y,w\n0,1,2,3", "o.csv, line 1: has no column h: expected a table"),
        ("o.csv", "frame,x,y,w,h\n0,1,2,3", "line 2: has another number of values"),
        ("o.csv", "frame,x,y,w,h,found\n0,1,2,3,4,maybe", "line 2: found is 'maybe', which is neither 0 nor 1"),
        ("o.csv", "frame,x,y,w,h\n1.5,1,2,3,4", "line 2: frame is 1.5, which is not a whole number from 0"),
        ("o.xml", "<a/>", "o.xml, line 1: begins with <a>: expected .CVAT for video 1.1"),
        ("o.xml", XML.replace('xbr="3"', 'xbr="0"'), "line 2: the corners 1,2 and 0,4 are in the wrong order"),
        ("o.xml", XML.replace('xbr="3" ', ""), "line 2: has no xbr"),
        ("o.xml", XML.replace('id="0"', 'id="b"'), "line 1: the id is 'b', which is not a number"),
        ("o.xml", XML[:-5], r"line 3: is not XML \(unclosed token\)"),
        ("o.xml", '<!DOCTYPE a [<!ENTITY b "c">]>' + XML, "line 1: has a DOCTYPE"),
        ("o.xml", "<annotations><image id='0'/></annotations>", 'o.xml is "CVAT for images", without tracks'),
        ("o.json", "{", r"o.json is not valid JSON \(.*\): expected COCO-VID"),
        ("o.json", "[]", "o.json has no lists images and annotations"),
        ("o.json", coco_with(bbox=[1, 2, 3]), r"o.json, annotations\[1\]: bbox is \[1, 2, 3\], not \[x, y, w, h\]"),
        ("o.json", coco_with(bbox=[1, None, 3, 4]), r"annotations\[1\]: y is 'None', which is not a number"),
        ("o.json", coco_with(image_id=9), r"annotations\[1\]: image_id is 9, which is no image"),
        ("o.json", coco_with(track_id=None), r"annotations\[1\]: has no track_id"),
        ("o.json", coco_with(image_id=[1]), r"annotations\[1\]: image_id is \[1\], which is no id"),
        ("o.json", json.dumps({**COCO, "categories": 5}), "o.json: categories is 5, not a list: expected COCO-VID"),
        ("o.json", json.dumps({**COCO, "images": [{"id": 1}]}), r"images\[0\]: has no frame_id"),
        ("o.boxes", "", r"o.boxes: its suffix tells no format of boxes: use .txt \(mot\), .json \(coco-vid\)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said) as error:
        read_boxes(tmp_path / name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("module", [mot, coco, cvat])
def test_what_cannot_be_read_is_one_line(tmp_path, module):
    (tmp_path / "o").write_bytes(b"\xff\xfe1")
    with pytest.raises(UserError, match="o is not a text file: byte 0 is not UTF-8"):
        module.read(tmp_path / "o")
    with pytest.raises(UserError, match=r"none cannot be read \(No such file"):
        module.read(tmp_path / "none")
    with pytest.raises(UserError, match="'motte' is no format of boxes.*did you mean 'mot'"):
        read_boxes(tmp_path / "o", "motte")
