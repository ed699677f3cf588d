"""Tables are Markdown that keeps its columns, or text whose columns stand below each other."""

from relo_jax import tables


def test_a_markdown_table_has_its_alignment_and_keeps_its_columns():
    lines = tables.markdown(["dataset", "AUC"], [["a|b", "70.0"], ["", "-"]], "lr").splitlines()
    assert lines == ["| dataset | AUC |", "|:--|--:|", "| a\\|b | 70.0 |", "|  | - |"]
    assert tables.markdown(["a", "b"], []).splitlines() == ["| a | b |", "|---|---|"]


def test_a_column_of_the_terminal_is_as_wide_as_its_longest_cell():
    rows = [["dataset", "AUC", "remark"], ["NFS", "70.0", "all"], [], ["GOT-10k val", "7.0"]]
    assert tables.terminal(rows, "lrl", indent=" ").splitlines() == [
        " dataset       AUC  remark",
        " NFS          70.0  all",
        "",
        " GOT-10k val   7.0",
    ]


def test_one_thing_has_no_plural():
    assert [tables.counted(count, "frame") for count in (0, 1, 1120)] == ["0 frames", "1 frame", "1,120 frames"]
