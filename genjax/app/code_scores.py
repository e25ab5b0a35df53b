"""The score of codes that a GAN's images are made from: are the classes among them?"""

from typing import Any

import jax
import numpy as np

from genjax import data
from genjax.app.families import gan, num_classes
from genjax.app.families.gan_networks import networks
from genjax.app.restore import Run
from genjax.methods.gan.gan import recognise
from genjax.metrics.purity import purity

_BATCH = 500


def code_scores(run: Run, test: data.Source) -> dict[str, Any]:
    """``code_purity`` of each categorical code, by number where there are several; nothing of a model without codes.

    The code of a test image is the likeliest one by the head on the discriminator's features.
    """
    options = run.config.method
    if (
        not isinstance(options, gan.GANConfig)
        or not options.categorical_codes
        or test.info.num_classes is None
    ):
        return {}
    classes = num_classes(run.config, run.info)
    _, discriminator = networks(run.config, run.info, classes)
    question = gan.question(options, gan.latent(options), classes)
    assert question is not None

    @jax.jit
    def recognised(state: Any, batch: Any) -> Any:
        label = None if classes is None else batch["label"]
        answer = recognise(discriminator, question, state, batch["image"], label)
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
