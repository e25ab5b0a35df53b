"""What training took and takes: ``timing.json`` of a run."""

from typing import Any

from genjax.train.timing import Times


def record(times: Times, examples: int, batch_size: int, cost: dict[str, Any]) -> dict[str, Any]:
    """What the file holds.

    Args:
        times: times of the run, with all its starts.
        examples: in the training set; an epoch is as many examples, whole batches or not.
        batch_size: examples a step.
        cost: of a step, see `genjax.app.cost.training_cost`.

    Returns:
        * "steps", "train_seconds": how many steps were timed and what they took, without compilation, hooks and
          checkpoints;
        * "seconds_per_epoch", their mean; "first_epoch_seconds" and "last_epoch_seconds", by linear interpolation of
          the curve; None where the run has no whole epoch, or was not timed in it;
        * "compile_seconds" of the train step, all starts together;
        * "curve": [[step, seconds so far], ...], at each line of the log and each checkpoint;
        * what `cost` says.
    """
    epoch = examples / batch_size
    last = times.curve[-1][0]
    return {
        "steps": times.steps,
        "train_seconds": times.train_seconds,
        "seconds_per_epoch": times.train_seconds / times.steps * epoch,
        "compile_seconds": times.compile_seconds,
        "first_epoch_seconds": times.between(0, epoch),
        "last_epoch_seconds": times.between(last - epoch, last),
        "curve": [list(point) for point in times.curve],
        **cost,
    }
