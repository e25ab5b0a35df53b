"""How fast training, sampling and data are here: ``python -m experiments.bench``.

* `subjects`: what is measured.
* `baselines`, `command`: what it is compared with, built in or any shell command.
* `measure`: puts them together.
* `timing`: how: repeats of all contenders in turn, medians, ratios of pairs.
* `fresh`: compile time with an empty and a filled cache, and peak memory, in processes of their own.
* `report`: the table.

Beside presets, with PyTorch among the contenders:

* `layers`, `torch_layers`, `layers_table`: single layers.
* `step`: training steps of networks, which `specs` describes, `tasks` (with `networks`) and `torch_tasks` (with
  `torch_unet`) run, and `alone` starts in processes of their own; `breakdown` says where their time goes.
* `stock`: flax.linen's layers in place of genjax.nn's; `peers`: is PyTorch there; `torch_weights`: its arrays.
"""
