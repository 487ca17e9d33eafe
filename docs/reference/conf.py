"""Settings of Sphinx for the reference; `make docs` builds it."""

import stvm

project = "stvm"
copyright = "the stvm authors"
release = stvm.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["html"]
html_theme = "alabaster"
html_theme_options = {"description": "Self-training via metric learning", "fixed_sidebar": True}
html_show_sourcelink = False
# A name in single backticks becomes a link if the reference has it.
default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
