"""Whatever a video does, there is a result a frame: boxes carried over what cannot be read, scaled with the picture."""

import json

import cv2
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media.frames import Unreadable
from relo_jax.tracking import follow
from relo_jax.tracking.session import track_to_files

BOX = (100.0, 80.0, 40.0, 30.0)


def boxes(followed):
    return np.array([result.box for _, result in followed])


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("lost", [(1,), (3, 4, 5), (4,), (5, 8), (11,), tuple(range(1, 12))])
def test_a_box_is_carried_over_what_cannot_be_read(tracked, frames, lost, chunk, capsys):
    """And the tracker goes on behind it as if those frames had never been."""
    video = [Unreadable(f"film: frame {t} is gone") if t in lost else frame for t, frame in enumerate(frames)]
    followed = list(follow.follow(tracked, video, BOX, chunk))
    assert [result.carried for _, result in followed] == [t in lost for t in range(12)]
    rest = boxes(follow.follow(tracked, [f for t, f in enumerate(frames) if t not in lost], BOX))
    given = boxes(followed)
    np.testing.assert_allclose(given[[t for t in range(12) if t not in lost]], rest, rtol=0, atol=1e-3)
    for t in lost:
        frame, result = followed[t]
        assert result.score == 0 and not result.found
        np.testing.assert_array_equal(given[t], given[t - 1])
        assert frame is followed[t - 1][0]  # there is a picture to draw it on
    assert capsys.readouterr().err == f"relo: film: frame {lost[0]} is gone: the last box is carried over it\n"


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("at", [1, 4, 6])
def test_the_box_is_scaled_with_the_picture(tracked, frames, at, chunk, capsys):
    big = [cv2.resize(frame, None, fx=1.5, fy=1.5) for frame in frames]
    mixed = [*frames[:at], *big[at:9], *frames[9:]]
    tracked.init(mixed[0], BOX)
    expected = [BOX]
    for t, frame in enumerate(mixed[1:], start=1):
        if t in (at, 9):
            before = tracked.boxes
            tracked.rescale(*(1.5, 1.5) if t == at else (1 / 1.5, 1 / 1.5))
            np.testing.assert_allclose(tracked.boxes, before * 1.5 if t == at else before / 1.5, rtol=1e-6)
        expected.append(tracked.update(frame).box)
    np.testing.assert_allclose(boxes(follow.follow(tracked, mixed, BOX, chunk)), expected, rtol=0, atol=1e-2)
    told = capsys.readouterr().err
    assert "is 480 x 360 pixels after 320 x 240: the box is scaled with it" in told and told.count("\n") == 1


def test_in_a_picture_of_another_shape_the_box_stays_where_it_is(tracked, frames, capsys):
    followed = follow.follow(tracked, [frames[0], np.ascontiguousarray(frames[0][:, :280])], BOX)
    assert np.abs(boxes(followed)[1] - BOX).max() < 40
    assert "the box stays where it is, in pixels" in capsys.readouterr().err


@pytest.mark.parametrize("chunk", [None, 4])
def test_without_a_first_frame_there_is_no_target(tracked, frames, chunk):
    with pytest.raises(UserError, match="1.png does not decode, but the box belongs to the first frame"):
        list(follow.follow(tracked, [Unreadable("1.png does not decode"), *frames], BOX, chunk))


@pytest.fixture
def folder(frames, tmp_path):
    """Eight pictures, two of them broken and one of another size."""
    (tmp_path / "frames").mkdir()
    for t, frame in enumerate(frames[:8]):
        cv2.imwrite(str(tmp_path / "frames" / f"{t}.png"), frame if t != 7 else frame[:200])
    for t in (3, 5):
        (tmp_path / "frames" / f"{t}.png").write_bytes(b"broken")
    return tmp_path / "frames"


def test_the_command_says_and_counts_what_went_wrong(folder, saved, tmp_path, capsys):
    out = {"save": tmp_path / "o.mp4", "json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt"}
    track_to_files(folder, BOX, saved, **out)
    said = capsys.readouterr()
    assert "8 frames" in said.out and "could not be read, the last box carried over them: 2" in said.out
    assert "changes of size: 1" in said.out
    assert "3.png: does not decode as an image: the last box is carried over it" in said.err
    written = json.loads(out["json_path"].read_text())
    assert [row["carried"] for row in written["frames"]] == [t in (3, 5) for t in range(8)]
    assert {name: written[name] for name in ("carried", "damaged", "dropped", "lost")} == {
        "carried": 2, "damaged": 0, "dropped": 0, "lost": 0,
    }  # fmt: skip
    assert len(np.loadtxt(out["txt_path"], delimiter=",")) == 8


def test_lines_of_json_come_as_the_frames_do(frames, saved, tmp_path):
    path, seen = tmp_path / "o.jsonl", []

    def watched():
        for frame in frames:
            seen.append(len(path.read_text().splitlines()) if path.exists() else 0)
            yield frame

    track_to_files(watched(), BOX, saved, json_path=path)
    assert seen[:2] == [0, 1] and seen[-1] == len(frames) - 1  # each was there before the next frame was asked for
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == list(range(12))


def test_lines_on_the_standard_output_are_alone_there(frames, saved, capsys):
    track_to_files(frames, BOX, saved, json_path="-")
    out, err = capsys.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 12 and "12 frames, target found" in err


def test_without_a_box_and_a_display_it_says_what_to_do(frames, saved, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="no window can be shown .*: give the target by --box x,y,w,h"):
        track_to_files(frames, None, saved)
    with pytest.raises(UserError, match="give --box x,y,w,h"):
        track_to_files(frames, None, saved, show=False)
    with pytest.raises(UserError, match="no window can be shown .*: track without --show"):
        track_to_files(frames, BOX, saved, show=True)
