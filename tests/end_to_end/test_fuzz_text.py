"""Mutated result files and ground truths are read correctly or refused in one line: no traceback, no wrong number."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relo_jax.data.datasets.annotations import read_boxes, read_flags
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.eval.results.read import find_results, match_results, read_result, read_scores, read_times

FRAMES = 6
TRUTH = np.array(
    [[20.5, 30, 40, 50], [22, 31, 40, 50], [24, 32, 41, 51], [26, 33, 41, 51], [28, 34, 42, 52], [30, 35, 42, 52]]
)
ODD = [
    "nan", "NaN", "inf", "-inf", "", " ", "1e400", "-1", "0", "1_0", "0x1f", "1,5", "٣", "--", "1e-320", "x", "\x00",
    "²",
]  # fmt: skip
settings.register_profile("text", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_text(boxes, separator, form):
    return "\n".join(separator.join(form.format(v) for v in box) for box in boxes) + "\n"


@st.composite
def mutated(draw):
    """A file's bytes: boxes that a tracker could have written, with up to four mutations."""
    boxes = TRUTH + draw(st.sampled_from([0, 0, 1, 300])) * np.array([1, 1, 0, 0])
    separator = draw(st.sampled_from([",", "\t", " ", ";", ", ", ",,", "|"]))
    form = draw(st.sampled_from(["{:.3f}", "{:g}", "{:.0f}", "{:e}", "{}"]))
    lines = as_text(boxes, separator, form).split("\n")
    for kind in draw(
        st.lists(st.sampled_from(["value", "drop", "repeat", "swap", "cut", "character", "end"]), max_size=4)
    ):
        at = draw(st.integers(0, len(lines) - 1))
        if kind == "value":
            values = lines[at].split(separator)
            values[draw(st.integers(0, len(values) - 1))] = draw(st.sampled_from(ODD))
            lines[at] = separator.join(values)
        elif kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "repeat":
            lines.insert(at, lines[at])
        elif kind == "swap":
            lines[at], lines[0] = lines[0], lines[at]
        elif kind == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        elif kind == "character":
            place = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:place] + draw(st.characters(codec="utf-8")) + lines[at][place:]
        elif kind == "end":
            lines.append(draw(st.sampled_from(["", "\n\n", "#", "0,0,0,0", "\ufeff"])))
    data = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines).encode()
    return draw(st.sampled_from([data, data, data, b"\xef\xbb\xbf" + data, data[: len(data) // 2], data + b"\xff"]))


def one_line(error, path):
    assert "\n" not in str(error) and str(path) in str(error) and len(str(error)) < 400 + 2 * len(str(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "a.txt"


@settings(settings.get_profile("text"), max_examples=600)
@given(data=mutated(), with_truth=st.booleans())
def test_a_result_file_is_read_right_or_refused(data, with_truth, path):
    path.write_bytes(data)
    try:
        result = read_result(path, FRAMES, first=TRUTH[0] if with_truth else None)
    except UserError as error:
        return one_line(error, path)
    boxes = result.boxes_xywh
    assert boxes.shape == (FRAMES, 4) and np.isfinite(boxes).all() and (boxes[:, 2:] >= 0).all()
    # The numbers are those in the file, as any reader would read them.
    words = data.decode("utf-8-sig").replace(",", " ").replace(";", " ").split()
    np.testing.assert_array_equal(boxes.ravel(), [float(word) for word in words])
    assert 0 <= metrics.measure(boxes, TRUTH).auc <= 1


@settings(settings.get_profile("text"), max_examples=450)
@given(data=mutated())
def test_a_ground_truth_is_read_right_or_refused(data, path):
    path.write_bytes(data)
    try:
        boxes = read_boxes(path)
    except UserError as error:
        return one_line(error, path)
    assert boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) and not np.isinf(boxes).any()
    assert (np.isnan(boxes).all(1) == np.isnan(boxes).any(1)).all()
    if len(boxes) == FRAMES:
        assert 0 <= metrics.measure(TRUTH, boxes).auc <= 1


@settings(settings.get_profile("text"), max_examples=300)
@given(data=mutated())
def test_times_scores_and_flags_are_read_right_or_refused(data, path):
    path.write_bytes(data)
    for read in (read_times, read_scores):
        try:
            values = read(path, FRAMES)
        except UserError as error:
            one_line(error, path)
        else:
            assert values.shape == (FRAMES,) and np.isfinite(values).all() and (values >= 0).all()
    try:
        assert read_flags(path).dtype == np.int64
    except UserError as error:
        one_line(error, path)


NAME = st.text(
    st.characters(codec="utf-8", exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=8
)


@settings(settings.get_profile("text"), max_examples=150)
@given(names=st.lists(NAME, min_size=1, max_size=4), ends=st.lists(st.sampled_from(["", "_time", "_001", "_score"])))
def test_files_of_any_names_are_a_sequences_or_are_named(names, ends, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    for name, end in zip(names * 4, ends, strict=False):
        if name not in (".", ".."):
            (folder / f"{name}{end}.txt").write_text("1,2,3,4\n")
    try:
        found = find_results(folder)
    except UserError as error:
        return one_line(error, folder)
    matched, extra = match_results(names, found)
    assert set(matched) <= set(names) and len({*matched.values()}) == len(matched)
    assert sorted([*(p.stem for p in matched.values()), *extra]) == sorted(found)
