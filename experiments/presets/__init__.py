"""Named experiments. A preset is a value; every field can be overridden on the command line.

The results and costs of some presets are in docs/results.md. The others have no published number yet.
"""

from experiments.presets.diffusion import DIFFUSION
from experiments.presets.gan import GAN
from experiments.presets.photos import PHOTOS
from experiments.presets.seed import SEED
from experiments.presets.translation import TRANSLATION
from experiments.presets.vae import VAE
from genjax.app.config import Config

PRESETS: dict[str, tuple[str, Config]] = DIFFUSION | VAE | GAN | TRANSLATION | SEED | PHOTOS
"""What each is about, and its config, by name."""
