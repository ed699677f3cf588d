"""Pages, plots and tables of results: trackers compared, and the demo."""
