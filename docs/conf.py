"""How Sphinx builds the site: ``python -m sphinx -W docs docs/site`` (docs/how-to/write-docs.md)."""

import os
import pathlib
import sys

DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")])

import genjax  # noqa: E402

project = "genjax"
author = "the genjax authors"
copyright = "2026, the genjax authors"
version = release = genjax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "reference",
    "tutorials",
]
exclude_patterns = ["site", "_ext", "_templates", "jupyter_execute", ".jupyter_cache"]
suppress_warnings = ["mystnb.unknown_mime_type", "myst-nb.lexer"]

# Markdown.
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4

# Tutorials run when the site is built; what they print and draw is what a reader sees. An error in one ends the build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / ".jupyter_cache")
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_output_stderr = "remove"

# The reference.
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
# Else every page copies a contents list of 1,700 names: minutes.
toc_object_entries = False

# The pages.
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "genjax"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["keyboard.js"]
templates_path = ["_templates"]
html_show_sphinx = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
