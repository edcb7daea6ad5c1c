"""The server of the page: for this machine alone, behind a token, and it reads nothing but runs and their images."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from captum_ext.core.text import shown
from captum_ext.exceptions import RunFolderError
from captum_ext_integrations.viewer import answers, html
from captum_ext_integrations.viewer.collection import Collection
from captum_ext_integrations.viewer.one_file import as_pixels
from captum_ext_integrations.viewer.photographs import Fit, NoPhotographError, Photographs
from captum_ext_integrations.viewer.questions import Question

_HOSTS = ("127.0.0.1", "localhost")
#: Nothing but the page's own files is loaded or run, whatever a name holds; notebooks of this machine may show it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:* vscode-webview:"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Guard:
    """Answers only requests that name this machine as host, so that no other page reaches it by a name of its own."""

    def __init__(self, app: Any, collection: Collection) -> None:
        self.app, self.collection = app, collection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        if host.rpartition(":")[0] not in _HOSTS and host not in _HOSTS:
            await _not_found("No such host.")(scope, receive, send)
            return

        self.collection.comparisons.make_way()

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Page:
    """The page of a collection of runs.

    Args:
        collection: the runs.
        photographs: of their samples; None: there are none.

    Attributes:
        token: part of the address, without which nothing is answered.
        app: an ASGI application.
    """

    def __init__(self, collection: Collection, photographs: Photographs | None = None) -> None:
        self.collection, self.photographs = collection, photographs
        self.token = secrets.token_urlsafe(16)
        routes: list[Route] = [
            Route("/", self._grid),
            Route("/sample/{index:int}", self._sample),
            Route("/static/{name}", self._static),
            Route("/api/about", self._about),
            Route("/api/rows", self._rows),
            Route("/api/sample/{index:int}", self._row),
            Route("/api/map/{run:int}/{index:int}", self._map),
            Route("/api/curves/{index:int}", self._curves),
            Route("/photograph/{index:int}", self._photograph),
            Route("/api/again", self._again, methods=["POST"]),
        ]
        self.app = Starlette(
            routes=[Mount(f"/{self.token}", routes=routes)],
            middleware=[Middleware(_Guard, collection=collection)],
            exception_handlers={404: _handled, 405: _handled, 500: _handled},
        )

    @property
    def where(self) -> str | None:
        """Where photographs belong: "below" maps or "beside" them; None: there are none."""
        if self.photographs is None:
            return None
        return "beside" if self.photographs.fit is None else "below"

    def about(self) -> dict[str, Any]:
        """What there is, and what photographs there are."""
        found = answers.about(self.collection, self.where)
        found["notices"] = [*found["notices"], *_about_photographs(self.where)]
        return found

    def _grid(self, request: Request) -> Response:
        question, said = Question.of(request.query_params)
        about, answer = self.about(), answers.rows(self.collection, question, said)
        if not request.url.path.endswith("/"):
            return Response(status_code=307, headers={"Location": f"/{self.token}/"})
        body = (
            html.header(about) + html.form(about, question, answer["sort"]) + html.table(about, answer, question, "./")
        )
        return _page(html.document("captum-ext view", body, html.linked("./")))

    def _sample(self, request: Request) -> Response:
        place = self.collection.place(request.path_params["index"])
        if place is None:
            return _not_found("No such sample.")
        question, _ = Question.of(request.query_params)
        about, row = self.about(), answers.row(self.collection, place)
        near = answers.neighbours(self.collection, question, row["index"])
        body = html.header(about) + html.sample(about, row, near, question)
        return _page(html.document(f"Sample {row['index']}", body, html.linked("../")))

    def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in html.STATIC:
            return _not_found("No such file.")
        return Response(html.static(name), media_type=html.STATIC[name])

    def _about(self, _: Request) -> Response:
        return JSONResponse(self.about())

    def _rows(self, request: Request) -> Response:
        question, said = Question.of(request.query_params)
        return JSONResponse(
            {**answers.rows(self.collection, question, said), "compared": self.collection.comparisons.share}
        )

    def _row(self, request: Request) -> Response:
        place = self.collection.place(request.path_params["index"])
        return _not_found("No such sample.") if place is None else JSONResponse(answers.row(self.collection, place))

    def _map(self, request: Request) -> Response:
        """A map as little-endian float32 (H, W), its size in a header; channels are summed."""
        number, place = request.path_params["run"], self.collection.place(request.path_params["index"])
        if number >= len(self.collection.runs) or place is None:
            return _not_found("No such map.")
        try:
            found = self.collection.map_of(number, place)
        except RunFolderError as error:
            return _not_found(str(error))
        if found is None:
            return _not_found("This run has no map of the sample.")
        pixels = as_pixels(found)
        size = f"{pixels.shape[0]} {pixels.shape[1]}"
        return Response(pixels.tobytes(), media_type="application/octet-stream", headers={"X-Map-Size": size})

    def _curves(self, request: Request) -> Response:
        place = self.collection.place(request.path_params["index"])
        if place is None:
            return _not_found("No such sample.")
        try:
            return JSONResponse(answers.curves(self.collection, place))
        except RunFolderError as error:
            return _not_found(str(error))

    def _photograph(self, request: Request) -> Response:
        place = self.collection.place(request.path_params["index"])
        if self.photographs is None or place is None:
            return _not_found("No photographs: --images FOLDER says where they are.")
        try:
            content = self.photographs.jpeg(int(self.collection.index[place]), self.collection.name(place))
        except NoPhotographError as error:
            return _not_found(str(error))
        return Response(content, media_type="image/jpeg")

    def _again(self, _: Request) -> Response:
        self.collection.read_again()
        self.collection.comparisons.start()
        return JSONResponse(self.about())


def photographs_of(collection: Collection, root: Path | None, fit: Fit | None = None) -> Photographs | None:
    """Photographs in a folder, fitted as is said, or as all runs say that they were.

    Raises:
        ArgumentError: no folder.
    """
    if root is None:
        return None
    fits = [Fit.of_run(run.manifest) for run in collection.runs]
    found = fits[0] if all(one == fits[0] for one in fits) else None
    return Photographs(root, fit or found, collection.runs[0].folder, collection.runs[0].n_samples)


def _about_photographs(where: str | None) -> list[str]:
    if where is None:
        return ["Maps without photographs: --images FOLDER says where they are."]
    if where == "beside":
        said = "The run does not say how photographs were cut for the model: they stand beside maps, not below them."
        return [f"{said} --resize and --crop say it."]
    return []


def _page(content: bytes) -> Response:
    return Response(content, media_type="text/html; charset=utf-8")


def _not_found(message: str) -> Response:
    return Response(shown(message, 400), status_code=404, media_type="text/plain; charset=utf-8")


async def _handled(_: Request, error: Exception) -> Response:
    """Errors without a word about what is on this machine."""
    code = getattr(error, "status_code", 500)
    return Response({404: "Not found.", 405: "Not allowed."}.get(code, "Something went wrong."), status_code=code)
