"""The application: what is asked at which path, who may, and what is answered. FastAPI makes the OpenAPI document of it.

Each path says which scope it needs; `frontage` has found out who asks before anything here is called. Functions that wait
for PostgreSQL or AWS run on threads, as many at once as `api.threads`.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from earmark.api import records
from earmark.api.documents import (
    FingerprintDocument,
    Health,
    Identified,
    NewUpload,
    NewUploadDocument,
    StreamDocument,
    StreamsPage,
    TracksPage,
    UploadDocument,
)
from earmark.api.frontage import REFUSE, TOKEN
from earmark.api.identifying import Identifying
from earmark.api.problems import MEDIA_TYPE, Problem, ProblemDocument, invalid
from earmark.api.tokens import Scope, Token
from earmark.api.uploads import Announced, Upload, Uploads
from earmark.hits.text import dumps, is_storable
from earmark.index.catalogue import Entry, Tracks
from earmark.postgres import Pool
from earmark.settings import Api

#: Of the paths and documents: raised only by what an older client could not understand.
VERSION: Final = "1.0.0"
_ID_CHARS_MAX: Final = 1_024
_ABOUT: Final = (
    "What Earmark knows: recordings in the catalogue, streams and their hits, and what is in a clip. "
    "Every error is application/problem+json (RFC 9457) with one sentence. Times are RFC 3339 in UTC, units are in names. "
    "Tokens are made by `earmark tokens add`, and sent as `Authorization: Bearer TOKEN`."
)
_bearer = HTTPBearer(auto_error=False, description="A token of `earmark tokens add`, with the scope that the path needs.")


def application(
    *, settings: Api, pool: Pool, uploads: Uploads | None, upload_bytes_max: int, identifying: Identifying | None, healthy: Callable[[], str]
) -> FastAPI:
    """`uploads`: None without `catalogue.place`. `identifying`: None to describe paths without serving them. `healthy`: "" or what is wrong."""
    made = FastAPI(
        title="Earmark",
        version=VERSION,
        description=_ABOUT,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # both load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _: _threads(settings.threads),
    )
    v1 = APIRouter(prefix="/v1", responses=_problems(401, 403, 408, 413, 422, 429, 500, 503))
    _add_uploads(v1, uploads, upload_bytes_max)
    _add_tracks(v1, pool, uploads, settings.page_max)
    _add_streams(v1, pool, settings.page_max)
    _add_identify(v1, identifying)
    made.include_router(v1)
    _add_health(made, healthy)
    made.openapi = lambda: _openapi(made)  # type: ignore[method-assign]  # FastAPI's own way to change the document
    for kind in (HTTPException, RequestValidationError, Exception):
        made.add_exception_handler(kind, _refused)
    return made


@asynccontextmanager
async def _threads(count: int) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = count
    yield


def described() -> Mapping[str, Any]:
    """The OpenAPI document, without anything behind it: `config/schema/openapi.v1.json`."""
    nothing: Any = None
    return application(settings=Api(), pool=nothing, uploads=None, upload_bytes_max=0, identifying=None, healthy=lambda: "").openapi()


def _openapi(made: FastAPI) -> dict[str, Any]:
    """FastAPI's, with the documents that only we know of."""
    document = FastAPI.openapi(made)
    _, schemas = models_json_schema([(ProblemDocument, "serialization"), (FingerprintDocument, "validation")], ref_template="#/components/schemas/{model}")
    document["components"]["schemas"].update(schemas["$defs"])
    return document


# ------------------------------------------------------------------------------------------------ who may, and what goes wrong


def needs(scope: Scope) -> Any:
    """The token of who asks. Raises Problem when it is not good for this."""

    async def check(request: Request, _: Annotated[object, Security(_bearer)]) -> Token:
        token: Token = request.scope["state"][TOKEN]
        if scope not in token.scopes:
            challenge = f'Bearer realm="earmark", error="insufficient_scope", scope="{scope}"'
            raise Problem("scope-missing", f"the token {token.name!r} may not do this: it lacks the scope {scope}", headers={"WWW-Authenticate": challenge})
        return token

    return Depends(check)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": "refused: see detail", "content": content} for status in statuses}


async def _refused(request: Request, error: Exception) -> Response:
    """What went wrong is answered by `frontage`, whatever is said here."""
    match error:
        case RequestValidationError():
            error = invalid(error.errors()) if not _is_broken_json(error) else Problem("malformed", "the body is not JSON, or is nested too deeply")
        case HTTPException(status_code=404):
            error = Problem("not-found", "there is nothing at this path: /v1/openapi.json lists what there is")
        case HTTPException(status_code=405):
            error = Problem("method-not-allowed", f"{request.method} is not what this path is asked by: see the header Allow", headers=error.headers)
        case HTTPException():
            error = Problem("malformed", "the body is not JSON, or is nested too deeply")
    request.scope["state"][REFUSE](error)
    return Response()


def _is_broken_json(error: RequestValidationError) -> bool:
    return any(flaw["type"] == "json_invalid" for flaw in error.errors())


def _absent(what: str, where: str) -> Problem:
    return Problem("not-found", f"there is no such {what}: {where}")


def _named(identifier: str) -> bool:
    """Whether anything can be called that."""
    return 0 < len(identifier) <= _ID_CHARS_MAX and is_storable(identifier)


# ------------------------------------------------------------------------------------------------ uploads


def _add_uploads(v1: APIRouter, uploads: Uploads | None, bytes_max: int) -> None:
    def there() -> Uploads:
        if uploads is None:
            raise Problem("uploads-off", "no uploads are taken here: catalogue.place names no bucket")
        return uploads

    @v1.post("/uploads", status_code=201, tags=["uploads"], responses=_problems(400, 501), response_model_exclude_none=True)
    def announce_upload(new: NewUpload, token: Annotated[Token, needs("uploads:write")], response: Response) -> NewUploadDocument:
        """Announce a recording; what is answered says how to send it to S3. Its description is kept beside it."""
        described, wrong = new.metadata.kept()
        flaws = [{"field": "metadata." + sentence.partition(" ")[0], "detail": sentence} for sentence in wrong]
        if new.size_bytes > bytes_max:
            flaws.append({"field": "size_bytes", "detail": f"size_bytes is {new.size_bytes}, and a recording may have {bytes_max}"})
        if flaws:
            raise Problem("invalid", "; ".join(flaw["detail"] for flaw in flaws), fields=flaws)
        announced = Announced(
            file_name=new.file_name,
            content_type=new.content_type,
            size_bytes=new.size_bytes,
            sha256=bytes.fromhex(new.sha256) if new.sha256 else None,
            described=described,
        )
        upload, form = there().announce(announced, token_id=token.token_id)
        response.headers["Location"] = f"/v1/uploads/{upload.upload_id}"
        return NewUploadDocument.model_validate({**_of(upload), "form": {"url": form.url, "fields": form.fields}})

    @v1.get("/uploads/{upload_id}", tags=["uploads"], responses=_problems(404, 501), response_model_exclude_none=True)
    def show_upload(upload_id: str, _: Annotated[Token, needs("uploads:write")]) -> UploadDocument:
        """What has become of an upload."""
        upload = there().find(upload_id) if _named(upload_id) else None
        if upload is None:
            raise _absent("upload", "it was never announced, or its time is over")
        return UploadDocument.model_validate(_of(upload))


def _of(upload: Upload) -> dict[str, Any]:
    return {**asdict(upload), "reasons": list(upload.reasons)}


# ------------------------------------------------------------------------------------------------ the catalogue


def _add_tracks(v1: APIRouter, pool: Pool, uploads: Uploads | None, page_max: int) -> None:
    after_id = Query(description="the `next` of the page before", max_length=_ID_CHARS_MAX)
    page_size = Query(description="recordings on this page, at most", ge=1, le=page_max)

    @v1.get("/tracks", tags=["catalogue"])
    def list_tracks(
        _: Annotated[Token, needs("catalogue:read")], limit: Annotated[int, page_size] = page_max, after: Annotated[str, after_id] = ""
    ) -> TracksPage:
        """The recordings of the catalogue, by their ids, a page at a time."""
        tracks = records.tracks(pool, after=after, limit=limit) if is_storable(after) else []
        return TracksPage(tracks=tracks, next=tracks[-1].track_id if len(tracks) == limit else None)

    @v1.get("/tracks/{track_id:path}", tags=["catalogue"], responses=_problems(404))
    def show_track(track_id: str, _: Annotated[Token, needs("catalogue:read")]) -> Entry:
        """What the catalogue holds about a recording."""
        entry = Tracks(pool=pool).show(track_id) if _named(track_id) else None
        if entry is None:
            raise _absent("recording", "/v1/tracks lists those there are")
        return entry

    @v1.delete("/tracks/{track_id:path}", status_code=204, tags=["catalogue"], responses=_problems(404))
    def remove_track(track_id: str, _: Annotated[Token, needs("catalogue:delete")]) -> None:
        """Take a recording out, and the object in the bucket that it came from, or it would come back."""
        tracks = Tracks(pool=pool)
        if not _named(track_id) or not tracks.get([track_id]):
            raise _absent("recording", "/v1/tracks lists those there are")
        if uploads is not None:
            uploads.remove_object_of(track_id)
        tracks.remove(track_id)


# ------------------------------------------------------------------------------------------------ streams


def _add_streams(v1: APIRouter, pool: Pool, page_max: int) -> None:
    after_id = Query(description="the `next` of the page before", max_length=_ID_CHARS_MAX)
    page_size = Query(description="streams on this page, at most", ge=1, le=page_max)
    over = Query(description="those that have ended too, or only those that still concern somebody")

    @v1.get("/streams", tags=["streams"], responses=_problems(404))
    def list_streams(
        _: Annotated[Token, needs("streams:read")],
        limit: Annotated[int, page_size] = page_max,
        after: Annotated[str, after_id] = "",
        ended: Annotated[bool, over] = True,  # noqa: FBT002 - named in the query
    ) -> StreamsPage:
        """Sessions, newest first, a page at a time."""
        rows = records.streams(pool, after=after if is_storable(after) else "", limit=limit, ended=ended)
        return StreamsPage.model_validate({"streams": rows, "next": rows[-1]["stream_id"] if len(rows) == limit else None})

    @v1.get("/streams/{stream_id:path}", tags=["streams"], responses=_problems(404), response_model=StreamDocument)
    def show_stream(stream_id: str, _: Annotated[Token, needs("streams:read")]) -> Response:
        """What was heard of a stream, and what was not; with its hits."""
        if not _named(stream_id):
            raise _absent("stream", "/v1/streams lists those there are")
        return Response(dumps(records.stream(pool, stream_id)), media_type="application/json")


# ------------------------------------------------------------------------------------------------ clips

#: Of a request that FastAPI must not read: it may be long.
_CLIP: Final = {
    "requestBody": {
        "required": True,
        "description": "a file with sound, whatever FFmpeg reads; or, as application/json, what `earmark fingerprint FILE --json` writes",
        "content": {
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "video/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"$ref": "#/components/schemas/FingerprintDocument"}},
        },
    }
}


def _add_identify(v1: APIRouter, identifying: Identifying | None) -> None:
    @v1.post("/identify", tags=["clips"], responses=_problems(400, 415), openapi_extra=_CLIP)
    async def identify_clip(request: Request, _: Annotated[Token, needs("identify")]) -> Identified:
        """Which recordings are in this clip, from when to when."""
        assert identifying is not None
        return Identified.model_validate(await identifying.answer(request.headers.get("content-type", ""), request.stream()))


def _add_health(made: FastAPI, healthy: Callable[[], str]) -> None:
    @made.get("/healthz", tags=["operation"], responses={503: {"model": Health, "description": "not to be asked now"}})
    def show_health(response: Response) -> Health:
        """For load balancers: no token."""
        wrong = healthy()
        response.status_code = 503 if wrong else 200
        return Health(status=wrong or "ok")
