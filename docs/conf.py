"""The site, built offline by `make docs`. Formulas are set by the MathJax of a package: a page asks no other host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "_ext"), str(ROOT), str(ROOT / "integrations")]

from text_inventories import packed  # noqa: E402

import captum_ext  # noqa: E402 (of this checkout)

project = "captum-ext"
author = "The captum-ext authors"
release = version = captum_ext.__version__
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "reference_pages",
    "message_pages",
    "unreleased",
    "local_mathjax",
    "accessible",
    "lists_for_machines",
]
exclude_patterns = ["_build", "_ext", "_templates", "inventories"]
templates_path: list[str] = []
suppress_warnings = ["myst.header"]  # docs/results.md begins its sections where the script that writes it does
nitpicky = True
# Nothing is fetched: types of other packages that no kept inventory names are text.
intersphinx_mapping = packed(HERE / "inventories", HERE / "_build" / "inventories")
intersphinx_disabled_reftypes = ["std:*"]  # names of Python alone: a page means its own labels
nitpick_ignore_regex = [
    ("py:class", r"(?!captum_ext).*"),
    ("py:obj", r"(?!captum_ext).*"),
    ("py:exc", r"[A-Z][A-Za-z]*(Error|Exit)"),
    ("py:class", r"captum_ext\.(core|attr\.paths|attr\.layers)\..*"),
    # what is read, or made by others: described where it is an attribute or an argument
    ("py:class", r"captum_ext\.(models|upsampling|visualize|dataset)\.[a-z_]+\.[A-Z_]\w+"),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline", "attrs_block"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autoclass_content = "class"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_show_search_summary = False  # the search would fetch every page, which a page opened from disk may not
html_title = f"captum-ext {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_baseurl = os.environ.get("DOCS_URL", "")  # where the site will stand, for sitemap.xml and canonical links
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "image_scrapers": ("gallery_figures.scraped",),
    "reset_modules": (),
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 0,
    "remove_config_comments": True,
    "download_all_examples": False,
    "write_computation_times": False,  # pages that ask other hosts for their tables
    "within_subsection_order": "gallery_figures.place",
    "default_thumb_file": str(HERE / "images" / "quickstart.jpg"),
    "first_notebook_cell": "%matplotlib inline",
    "abort_on_example_error": True,
}
