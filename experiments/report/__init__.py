"""A study as one page that opens anywhere: ``python -m experiments.report FOLDER``."""
