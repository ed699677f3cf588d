"""The paper's other tables agree with its main results, and their rows with the columns."""

from relo_jax.config import published
from relo_jax.config import published_tables as paper


def test_the_rows_of_relo_are_the_published_results():
    for variant, results in published.RESULTS.items():
        rows = {dataset: table.get(f"RELO-{variant.upper()}") for dataset, table in paper.TRACKERS.items()}
        assert {dataset: row[0] for dataset, row in rows.items() if row} == results


def test_the_tables_cover_the_papers_datasets_and_every_row_fits_its_columns():
    assert tuple(paper.TRACKERS) == tuple(paper.COLUMNS) == published.DATASETS
    for dataset, table in paper.TRACKERS.items():
        for row in table.values():
            assert len(row) == len(paper.COLUMNS[dataset])
            assert all(number is None or 40 < number < 100 for number in row)


def test_columns_are_in_their_order():
    """P is below P_norm wherever both are known, SR0.75 below SR0.5 and AO above SR0.75: none was swapped."""
    for dataset in ("lasot", "lasot_ext", "trackingnet"):
        for _, precision, normalised in paper.TRACKERS[dataset].values():
            assert None in (precision, normalised) or precision < normalised
    for _, half, three_quarters in paper.TRACKERS["got10k"].values():
        assert half is None or three_quarters < half


def test_the_rows_of_edge_devices_go_from_the_fastest_to_the_most_accurate():
    rows = list(paper.EDGE.values())
    for faster, slower in zip(rows, rows[1:], strict=False):
        assert faster.cpu > slower.cpu and faster.jetson > slower.jetson
        assert all(number < slower.numbers[dataset] for dataset, number in faster.numbers.items())
    assert paper.EDGE["RELO-T256"].numbers == published.RESULTS["t256"]
