"""The builder of OTB-100, over a miniature of it."""

from tests.data import builders


def test_the_stock_build_holds_what_the_folders_hold(tmp_path, monkeypatch):
    builders.check("otb100", tmp_path, monkeypatch)
