"""Networks of integer codes: autoencoders with a code book, and priors over codes."""
