"""`relo rehearse`: the paper in miniature, by the commands of the real thing, and a forecast of its time and disk.

`plan.py` has the choices, `processes.py` runs the commands, `data.py`, `training.py` and `results.py` have the steps,
`runner.py` runs them in order, `forecast.py` and `report.py` say what came out.
"""
