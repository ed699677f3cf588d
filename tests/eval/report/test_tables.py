"""Tables: ranks follow the printed digits, and unknown numbers are shown as such."""

import csv

from relo_jax.eval.report import tables


def test_a_table_for_a_terminal_is_aligned():
    rows = {"a": {"auc": 0.5, "ao": 0.25}, "longer name": {"auc": 1.0, "ao": float("nan")}}
    assert tables.as_text("tracker", {"auc": "AUC", "ao": "AO"}, rows).splitlines() == [
        "tracker        AUC     AO",
        "a            0.500  0.250",
        "longer name  1.000    nan",
    ]


def test_latex_ranks_as_it_prints_and_shows_what_is_unknown(tmp_path):
    tables.write_latex(
        tmp_path / "t.tex", ["AUC"], {"a": [0.50001], "b": [0.50002], "c": [None], "d": [0.2]}, comment=""
    )
    rows = (tmp_path / "t.tex").read_text().splitlines()[5:9]
    assert [row.split(" & ")[1] for row in rows] == [
        r"\textbf{50.0} \\", r"\textbf{50.0} \\", r"-- \\", r"\underline{20.0} \\",
    ]  # fmt: skip
    tables.write_csv(tmp_path / "t.csv", ["a", "b"], [['with "quotes", and', float("nan")]])
    assert list(csv.reader((tmp_path / "t.csv").open())) == [["a", "b"], ['with "quotes", and', ""]]


def test_cells_are_never_formulas(tmp_path):
    """A spreadsheet runs a cell that begins with one of these, in a file that came from somebody else."""
    names = ["=cmd()", "+1", "-2+3", "@SUM(A1)", " =1", "\t=1", "\r=1", "a\x1b[31mb", "ours"]
    tables.write_csv(tmp_path / "t.csv", ["=head"], [[name, -0.5] for name in names])
    head, *rows = csv.reader((tmp_path / "t.csv").open())
    assert head == ["'=head"]
    assert [row[0] for row in rows] == [
        "'=cmd()", "'+1", "'-2+3", "'@SUM(A1)", "' =1", "' =1", "' =1", "a\\x1b[31mb", "ours",
    ]  # fmt: skip
    assert {row[1] for row in rows} == {"-0.5"}  # a number is one


def test_latex_has_no_commands_of_others(tmp_path):
    comment, name = "x\n\\input{|id}\r\\write18{id}\u2028\\x", "a\n\\input{|id}"
    tables.write_latex(tmp_path / "t.tex", ["AUC"], {name: [0.5]}, comment=comment)
    lines = (tmp_path / "t.tex").read_text().splitlines()
    assert [line for line in lines if line.lstrip().startswith(("\\input", "\\write", "\\x"))] == []
    assert lines[0].startswith("% x ") and r"a \textbackslash{}input\{|id\}" in lines[5]


def test_any_name_can_be_written(tmp_path):
    for name in ("s\udcff", "\ud800", "n" * 5000, "\x00\x07"):
        tables.write_latex(tmp_path / "t.tex", ["AUC"], {name: [0.5]}, comment=name)
        tables.write_csv(tmp_path / "t.csv", [name], [[name]])
        tables.write_json(tmp_path / "t.json", {name: name})
        text = tables.as_text("tracker", {"auc": "AUC"}, {name: {"auc": 0.5}})
        for written in (text, *((tmp_path / f"t.{kind}").read_text() for kind in ("tex", "csv", "json"))):
            assert all(line.isprintable() for line in written.splitlines()) and len(written.splitlines()) >= 2
        assert len(text.splitlines()) == 2 and len(text) < 500
