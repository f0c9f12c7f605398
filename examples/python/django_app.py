"""A Django project in one file that hosts the orchestrator.

Start it with ``gunicorn django_app:application --workers 4``. Each worker opens the flow at its first request, after the
fork; one of them hosts, and another takes over when it dies.
"""

from __future__ import annotations

import os
import threading
from functools import cache

import fastflow
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example"),
    ROOT_URLCONF=__name__,
    PIPELINES=os.environ.get("PIPELINES", "./pipelines"),
)

opening = threading.Lock()


@cache
def opened() -> fastflow.Flow:
    """The flow of this worker. It closes when the worker exits, and stops no run."""
    return fastflow.open(settings.PIPELINES).start()


def flow() -> fastflow.Flow:
    """The same, opened once though many threads ask."""
    with opening:
        return opened()


STATUSES: dict[type[fastflow.FastflowError], int] = {
    fastflow.NotFoundError: 404,
    fastflow.InvalidError: 400,
    fastflow.ConflictError: 409,
}
REFUSALS = tuple(STATUSES)


def refused(error: fastflow.FastflowError) -> HttpResponse:
    """What the client has to mend, and no fault of this server."""
    return JsonResponse({"error": str(error)}, status=STATUSES[type(error)])


@require_POST
def submit(request: HttpRequest, name: str) -> HttpResponse:
    """Accepts a run. It survives the death of this worker."""
    try:
        run = flow().run(name, parameters=request.POST.dict(), key=request.headers.get("Idempotency-Key"))
    except REFUSALS as error:
        return refused(error)
    return JsonResponse({"id": str(run.id), "status": run.status, "worker": os.getpid()}, status=202)


@require_GET
def read(request: HttpRequest, id: str) -> HttpResponse:
    """A run, with what went wrong."""
    try:
        run = flow().runs.get(id)
    except REFUSALS as error:
        return refused(error)
    failure = run.failure.message if run.failure else None
    return JsonResponse({"id": id, "status": run.status, "failure": failure, "worker": os.getpid()})


@require_GET
def logs(request: HttpRequest, id: str) -> HttpResponse | StreamingHttpResponse:
    """The log of a run, live."""
    try:
        flow().runs.get(id)  # once the answer has begun, its status cannot be changed any more
    except REFUSALS as error:
        return refused(error)
    return StreamingHttpResponse((line.text + "\n" for line in flow().runs.logs(id)), content_type="text/plain")


urlpatterns = [
    path("pipelines/<name>/runs", submit),
    path("runs/<id>", read),
    path("runs/<id>/logs", logs),
]

application = get_wsgi_application()
