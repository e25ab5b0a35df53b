"""The score of codes that a GAN's images are made from: are the classes among them?"""

from typing import Any

import jax
import numpy as np

from genjax import data
from genjax.app.restore import Run
from genjax.conditions import select
from genjax.methods.gan.gan import recognise
from genjax.methods.gan.gan_kind import GANConfig, auxiliary_task, networks
from genjax.metrics.purity import purity

_BATCH = 500


def code_scores(run: Run, test: data.Source) -> dict[str, Any]:
    """``code_purity`` of each categorical code, by number where there are several; nothing of a model without codes.

    The code of a test image is the likeliest one by the head on the discriminator's features.
    """
    options, context = run.config.method, run.context
    if not isinstance(options, GANConfig) or not options.categorical_codes or test.info.num_classes is None:
        return {}
    _, discriminator = networks(context)
    task = auxiliary_task(context)
    assert task is not None

    @jax.jit
    def recognised(state: Any, batch: Any) -> Any:
        told = select(batch, context.conditions)
        answer = recognise(discriminator, task, state, batch["image"], told)
        return [logits.argmax(-1) for logits in answer.logits]

    found, labels = [], []
    for batch in data.eval_batches(test, _BATCH):
        codes = recognised(run.state, data.preprocess(jax.random.key(0), batch))
        mask = batch["_mask"]
        found.append([np.asarray(code)[mask] for code in codes])
        labels.append(batch["label"][mask])
    label = np.concatenate(labels)
    values = [purity(np.concatenate(code), label) for code in zip(*found, strict=True)]
    if len(values) == 1:
        return {"code_purity": values[0]}
    return {f"code_purity_{i}": value for i, value in enumerate(values)}
