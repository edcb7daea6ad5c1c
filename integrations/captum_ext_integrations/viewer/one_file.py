"""A page with everything in one file: styles, scripts, numbers, maps and photographs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext_integrations.viewer import html


def alone(title: str, body: str, data: dict[str, Any] | None = None) -> bytes:
    """A page with all that it needs in itself, which loads and runs nothing else; without data no script."""
    style = html.static("page.css").decode()
    scripts = [] if data is None else [html.static(name).decode() for name in html.SCRIPTS]
    own = f"style-src {_hashes([style])}; script-src {_hashes(scripts)}"
    policy = f"default-src 'none'; img-src data:; {own}; base-uri 'none'"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>'
    if data is None:
        return html.document(title, body, head)
    # In a script nothing ends the element but "</", and JSON may say "<" as an escape.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    embedded = f'<script type="application/json" id="data">{text}</script>'
    return html.document(title, body + embedded + "".join(f"<script>{one}</script>" for one in scripts), head)


def map_as_json(values: Any) -> dict[str, Any]:
    """A map (...) as the page takes it."""
    pixels = as_pixels(values)
    return {"height": pixels.shape[0], "width": pixels.shape[1], "values": base64.b64encode(pixels.tobytes()).decode()}


def as_pixels(found: Any) -> NDArray[np.float32]:
    """A map (...) as little-endian float32 (H, W): channels are summed, and what is no image is one line."""
    values = np.asarray(found, dtype=np.float64)
    values = values.sum(0) if values.ndim == 3 else values
    return (values if values.ndim == 2 else values.reshape(1, -1)).astype("<f4")


def jpeg_as_link(content: bytes) -> str:
    """An image as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _hashes(parts: Sequence[str]) -> str:
    """What a policy calls texts of a page by."""
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
    if not parts:
        return "'none'"
    return " ".join(f"'sha256-{digest}'" for digest in digests)
