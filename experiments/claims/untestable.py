"""Claims that cannot be tested on bundled digits and two cores: listed, so that nobody takes silence for agreement."""

from experiments.claims.claim import Allowed, Claim

_LIST = [
    (
        "imagenet-fid",
        "Diffusion models have a lower FID on ImageNet than the best GANs",
        "surveys of diffusion models",
        "a lower FID",
        "needs ImageNet, published Inception weights and models of hundreds of millions of parameters",
    ),
    (
        "faces-1024",
        "StyleGAN's faces of 1024x1024 pixels are photorealistic, by FID on FFHQ",
        "surveys of GANs",
        "a single-digit FID",
        "needs FFHQ and many days of several GPUs",
    ),
    (
        "human-studies",
        "People cannot tell generated images from photographs",
        "surveys of image generation",
        "about half of the answers right",
        "needs people, and images of photographic size",
    ),
    (
        "gpu-hours",
        "Training a diffusion model takes many times the GPU hours of a GAN of the same quality",
        "surveys that compare GANs, VAEs and diffusion models",
        "many times",
        "needs both trained to the same quality on GPUs; on digits neither is at its limit",
    ),
    (
        "text-to-image",
        "Text-to-image models follow their prompts, by CLIP score",
        "surveys of text-to-image generation",
        "a higher CLIP score than before",
        "needs a text-to-image model and CLIP's weights; there are neither here",
    ),
    (
        "augmentation",
        "Generated images as additional training data improve classifiers where data is scarce, as in medicine",
        "surveys of applications",
        "some percentage points",
        "needs a domain with scarce data; digits have enough of it",
    ),
]

CLAIMS = [
    Claim(name, statement, survey, claimed, Allowed(), "", why)
    for name, statement, survey, claimed, why in _LIST
]
