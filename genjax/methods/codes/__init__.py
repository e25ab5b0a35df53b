"""Models of integer codes, and priors over them."""
