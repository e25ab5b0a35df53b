"""How fast training, sampling and data are here: ``python -m experiments.bench``.

* `subjects`: what is measured.
* `baselines`, `command`: what it is compared with, built in or any shell command.
* `measure`: puts them together.
* `timing`: how: repeats of all contenders in turn, medians, ratios of pairs.
* `fresh`: compile time with an empty and a filled cache, and peak memory, in processes of their own.
* `report`: the table.
"""
