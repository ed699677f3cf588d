"""A tracker says what it is and what it does."""

from relo_jax.tracking.tracker import open_tracker


def test_a_tracker_shows_checkpoint_network_device_and_state(tracked, frames, monkeypatch):
    monkeypatch.setattr(tracked, "checkpoint", None)
    monkeypatch.setattr(tracked, "_begun", False)
    text, page = repr(tracked), tracked._repr_html_()
    assert text.startswith("Tracker(given variables: ") and "waits for init" in text
    assert f"in {tracked.model.config.dtype}, on cpu (cpu)" in text and "search region of" in text
    assert "<td style='text-align:left'>not calibrated</td>" in page
    monkeypatch.setattr(tracked, "checkpoint", "<runs>")
    tracked.init(frames[0], (20, 10, 12, 14))
    assert "&lt;runs&gt;" in tracked._repr_html_() and "follows (20.0, 10.0, 12.0, 14.0)" in repr(tracked)


def test_a_tracker_names_its_checkpoint(saved):
    assert open_tracker(saved).checkpoint == str(saved)
