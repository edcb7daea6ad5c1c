"""llms.txt, a list of the pages with a line on each, and sitemap.xml, beside the pages of the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from docutils import nodes

ABOUT = (
    "Attribution methods (LPI, Weighted IG, SAMP, IDGI and rivals), the upsampler USU and faithfulness metrics for "
    "PyTorch, called as in Captum, pytorch-grad-cam and Quantus."
)


def write(app: Any, error: Exception | None) -> None:
    """Both files, of the pages that a reader can reach."""
    if error is not None or app.builder.format != "html":
        return
    names = [name for name in sorted(app.env.found_docs) if name != app.config.root_doc]
    base = app.config.html_baseurl.rstrip("/")
    folder = Path(app.outdir)
    lines = [f"# captum-ext {app.config.release}", "", f"> {ABOUT}", ""]
    for heading, chosen in (
        ("Guide", [name for name in names if not name.startswith("reference/")]),
        ("API reference", [name for name in names if name.startswith("reference/")]),
    ):
        lines += [f"## {heading}", "", *(_line(app, base, name) for name in chosen), ""]
    (folder / "llms.txt").write_text("\n".join(lines))
    addresses = [f"{base}/{name}.html" for name in (app.config.root_doc, *names)]
    urls = "".join(f"  <url><loc>{escape(address)}</loc></url>\n" for address in addresses)
    xmlns = "http://www.sitemaps.org/schemas/sitemap/0.9"
    (folder / "sitemap.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="{xmlns}">\n{urls}</urlset>\n'
    )


def _line(app: Any, base: str, name: str) -> str:
    title = app.env.titles[name].astext()
    said = app.env.get_doctree(name).next_node(nodes.paragraph)
    about = " ".join(said.astext().split())[:160] if said is not None else ""
    return f"- [{title}]({base}/{name}.html)" + (f": {about}" if about else "")


def setup(app: Any) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
