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
