"""Where a measured number stands among the paper's trackers."""

from relo_jax.config.published_tables import TRACKERS
from relo_jax.eval import standing


def test_a_measured_number_has_its_place_between_its_neighbours():
    assert standing.line("nfs", "measured", {"auc": 68.94}) == "place 3 of 9: RELO-B256 70.0 > 68.9 > ARTrack-L384 67.9"
    assert standing.line("nfs", "measured", {"auc": 99.0}) == "place 1 of 9: 99.0 > RELO-L256 71.3"
    assert standing.line("nfs", "measured", {"auc": 9.0}) == "place 9 of 9: TransT 65.7 > 9.0"


def test_it_follows_those_that_print_the_same():
    assert standing.line("nfs", "measured", {"auc": 70.04}) == "place 3 of 9: RELO-B256 70.0 = 70.0 > ARTrack-L384 67.9"


def test_the_ranking_is_by_the_first_column():
    rows = standing.ranking("got10k", "measured", {"ao": 80.0, "sr50": 99.0})
    assert [name for name, _ in rows[:5]] == ["RELO-L256", "ARPTrack-L384", "SUTrack-L224", "RELO-B256", "measured"]
    assert rows[4][1] == (80.0, 99.0, None) and len(rows) == len(TRACKERS["got10k"]) + 1


def test_the_table_has_the_measured_row_in_bold():
    lines = standing.markdown("lasot", "measured", {"auc": 73.27, "p20": 80.5, "np20": 83.0}).splitlines()
    assert lines[0] == "| LaSOT | AUC | P | P_norm |" and lines[1] == "|:--|--:|--:|--:|"
    place = lines.index("| **measured** | **73.3** | **80.5** | **83.0** |")
    assert lines[place - 1].startswith("| RELO-B256 | 73.3 |") and lines[place + 1].startswith(
        "| SUTrack-B224 | 73.2 |"
    )
    assert "| SimTrack-L224 | 70.5 | - | 79.7 |" in lines and "| **" not in standing.markdown("lasot")


def test_the_text_has_a_line_for_each_dataset():
    text = standing.text("measured", {"nfs": {"auc": 69.0}, "got10k": {"ao": 90.0}})
    assert text.splitlines()[1].split()[:5] == ["NFS", "place", "3", "of", "9:"]
    assert text.splitlines()[2].startswith("GOT-10k ") and "whole-number boxes" in text.splitlines()[0]
