"""`relo track` with files of boxes, from a frame on and both ways: what is written in every format, and said."""

import contextlib
import csv
import json
from fractions import Fraction

import av
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media import video
from relo_jax.media.frames import Unreadable
from relo_jax.tracking import writers
from relo_jax.tracking.box_files.formats import read_boxes
from relo_jax.tracking.part import Part
from relo_jax.tracking.result import Result
from relo_jax.tracking.session import track_to_files
from relo_jax.tracking.track import track
from tests import command

BOX, SECOND = (100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0)
TIMES = [0, 3, 5, 9, 10, 14, 20, 21, 22, 30, 33, 34]  # of a film of varying rate, in units of 1/90 s


@pytest.fixture(scope="module")
def film(frames, tmp_path_factory):
    """Twelve frames of varying rate, with sound."""
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream, sound = (
            container.add_stream("libx264", rate=30, options={"crf": "5"}),
            container.add_stream("aac", 8000),
        )
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90)
        for pts, frame in zip(TIMES, frames, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = pts, Fraction(1, 90)
            container.mux(stream.encode(picture))
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 3000), np.float32), format="fltp", layout="mono")
        quiet.sample_rate, quiet.pts = 8000, 0
        container.mux([*stream.encode(), *sound.encode(quiet), *sound.encode()])
    return path


def shown(path):
    """When the frames of a file are shown, seconds since the first."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [picture.pts * stream.time_base for picture in container.decode(stream)]
    return [float(time - times[0]) for time in times]


def test_a_saved_film_of_varying_rate_keeps_its_times(film, saved, tmp_path, capsys):
    track_to_files(film, BOX, saved, tmp_path / "o.mp4", box_paths=[tmp_path / "o.csv"])
    expected = [time / 90 for time in TIMES]
    np.testing.assert_allclose(shown(tmp_path / "o.mp4"), expected, rtol=0, atol=1 / 12_800)
    with open(tmp_path / "o.csv", newline="") as file:
        np.testing.assert_allclose([float(row["time"]) for row in csv.DictReader(file)], expected, rtol=0, atol=1e-6)
    assert f"written: {tmp_path / 'o.mp4'}, without the sound of {film}\n" in capsys.readouterr().out


def test_both_ways_from_a_time_every_file_has_the_frames_of_the_film(film, saved, tmp_path):
    """The box is in frame 5; each file is in the order of the film."""
    names = ("o.txt", "o.xml", "o.json", "o.csv")
    outputs = [argument for name in names for argument in ("--save-boxes", tmp_path / name)]
    command.run(
        "track", film, "--box", "100,80,40,30", "--checkpoint", saved, "--from", "0.16s", "--both", "--to", 9,
        "--save", tmp_path / "o.mkv", "--json", tmp_path / "rows.jsonl", *outputs, "--found-threshold", 0,
    )  # fmt: skip
    found = {name: read_boxes(tmp_path / name)[0].boxes for name in names}
    for name, boxes in found.items():
        there = [box for box in boxes if box.found]
        assert [box.frame for box in there] == list(range(10)), name
        np.testing.assert_allclose([b.box for b in there], [b.box for b in found["o.csv"]], rtol=0, atol=1e-3)
    assert found["o.csv"][5].box == BOX and found["o.csv"][5].score == 1
    assert not found["o.xml"][-1].found and found["o.xml"][-1].frame == 10  # the film goes on without the target
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(10))
    np.testing.assert_allclose(shown(tmp_path / "o.mkv"), [time / 90 for time in TIMES[:10]], rtol=0, atol=1e-3)
    python = list(track(film, BOX, saved, start="0.16s", stop=9, direction="both"))
    np.testing.assert_allclose([result.box for result in python], [b.box for b in found["o.csv"]], rtol=0, atol=1e-3)


def test_targets_begin_where_a_file_says_and_keep_their_names(film, saved, tmp_path, capsys):
    box = '<box frame="{}" outside="0" keyframe="1" xtl="{}" ytl="{}" xbr="{}" ybr="{}"/>'
    corners = lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
    tracks = [(4, "bird", 2, BOX), (9, "dog", 6, SECOND)]
    xml = "".join(f'<track id="{k}" label="{n}">{box.format(t, *corners(b))}</track>' for k, n, t, b in tracks)
    (tmp_path / "in.xml").write_text(f"<annotations>{xml}</annotations>")
    out = tmp_path / "o.csv"
    files = {"json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt", "save": tmp_path / "o.mp4"}
    track_to_files(film, None, saved, **files, box_paths=[out], part=Part(box_file=tmp_path / "in.xml"))
    bird, dog = read_boxes(out)
    assert [(track.id, track.label, track.boxes[0].frame, track.boxes[0].box) for track in (bird, dog)] == tracks
    assert [box.frame for box in dog.boxes] == list(range(6, 12)) and len(bird.boxes) == 10
    rows = json.loads((tmp_path / "o.json").read_text())["frames"]
    assert [row["targets"][1]["box"] is None for row in rows] == [True] * 4 + [False] * 6 and rows[0]["frame"] == 2
    assert np.isnan(np.loadtxt(tmp_path / "o_2.txt", delimiter=",")).all(1).tolist() == [True] * 4 + [False] * 6
    # Again from what was written, with one of the two.
    part = Part(8, box_file=out.rename(tmp_path / "o.table"), ids=(9,), box_format="csv")
    track_to_files(film, None, saved, box_paths=[tmp_path / "again.txt"], part=part)
    (again,) = read_boxes(tmp_path / "again.txt")
    assert again.id == 9 and [box.frame for box in again.boxes] == [8, 9, 10, 11]
    assert again.boxes[0].box == dog.boxes[2].box


def test_frames_that_cannot_be_read_count_also_before_the_first_target_begins(frames, saved, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("frame,id,x,y,w,h\n5,1,100,80,40,30\n1,2,30,40,50,60\n")
    gone = [Unreadable("gone") if t in (3, 7) else frame for t, frame in enumerate(frames)]
    part = Part(stop=8, box_file=tmp_path / "in.csv")
    track_to_files(gone, None, saved, json_path=tmp_path / "o.json", part=part)
    written = json.loads((tmp_path / "o.json").read_text())
    assert [row["frame"] for row in written["frames"] if row["carried"]] == [3, 7] and written["carried"] == 2
    assert "the last box carried over them: 2" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--from", "50"], ["--backwards"], ["--both"]])
def test_the_box_of_the_example_belongs_to_its_first_frame(more):
    with pytest.raises(UserError, match="the box of --example is in its first frame"):
        command.run("track", "--example", *more, "--checkpoint", "none")
    with pytest.raises(UserError, match="none: no such checkpoint"):
        command.run("track", "--example", "--from", "50", *more, "--box", "100,80,40,30", "--checkpoint", "none")


@pytest.mark.parametrize(("name", "rate"), [("in.mkv", Fraction(30_000, 1001)), ("in.mp4", Fraction(25))])
def test_a_constant_rate_stays_as_it_is(frames, tmp_path, name, rate):
    """Though Matroska rounds the times to milliseconds."""
    with video.write_video(tmp_path / name, rate) as write:
        for frame in frames[:8]:
            write(frame)
    with video.open_frames(tmp_path / name) as read, contextlib.ExitStack() as files:
        write = writers.video_writer(files, tmp_path / "o.mp4", read)
        for read.number, frame in enumerate(read):  # noqa: B020
            write(frame, [Result(BOX, 1.0, True, 0.0)], read)
    assert shown(tmp_path / "o.mp4") == [float(t / rate) for t in range(8)]
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--box", "1,2,3,4", "--box-from", "a.xml"], "--box and --box-from both name targets"),
        (["--box", "1,2,3,4", "--id", "3"], "--id is about the boxes of --box-from"),
        (["--box", "1,2,3,4", "--every-box"], "--every-box is about the boxes of --box-from"),
        (["--box-from", "a.xml", "--every-box", "--both"], "--every-box is for tracking forwards: leave out --both"),
        (["--box", "1,2,3,4", "--backwards", "--show"], "--show is for tracking forwards: leave out --backwards"),
        (["--box", "1,2,3,4", "--both"], "in which frame is the box. Give --from, to track both ways from it"),
        (["--box", "1,2,3,4", "--boxes-format", "mot"], "--boxes-format is about the files of --save-boxes and"),
        (["--box", "1,2,3,4", "--from", "x"], "--from is 'x': give the number of a frame from 0, or a time"),
        (["--box", "1,2,3,4", "--from", "12"], "--from is frame 12: .*walk.mp4 has frames 0 to 11"),
        (["--box", "1,2,3,4", "--save-boxes", "o.boxes"], "o.boxes: its suffix tells no format of boxes"),
        (["--box", "1,2,3,4", "--save-boxes", "o", "--boxes-format", "voc"], "o: 'voc' is no format of boxes"),
        (["--box-from", "none.xml"], "none.xml cannot be read"),
        (["--box", "1,2,3,4", "--save-boxes", "o.csv", "--txt", "o.csv"], "o.csv is used twice"),
        (["--box", "900,2,3,4", "--from", "3"], "900"),
    ],
)  # fmt: skip
def test_contradictions_are_one_line_and_leave_nothing(film, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said) as error:
        command.run("track", film, *arguments, "--checkpoint", "none")
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["0", "rtsp://host/stream"])
def test_a_part_of_a_stream_is_refused(source):
    with pytest.raises(UserError, match="is a camera or a stream, in which one cannot go to a frame"):
        command.run("track", source, "--box", "1,2,3,4", "--from", "4")
