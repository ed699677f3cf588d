"""The builder of UAV123, over a miniature of it."""

from tests.data import builders


def test_the_stock_build_holds_what_the_folders_hold(tmp_path, monkeypatch):
    builders.check("uav123", tmp_path, monkeypatch)
