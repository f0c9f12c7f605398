"""A FastAPI application that hosts the orchestrator.

Start it with ``uvicorn fastapi_app:app``, with as many workers as you like: one of them hosts, all of them submit and
read, and another takes over when the host dies.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import fastflow
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

PIPELINES = os.environ.get("PIPELINES", "./pipelines")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    """Opens the flow when the application starts. Leaving it stops no run."""
    async with fastflow.open(PIPELINES) as flow:
        app.state.flow = flow
        yield


app = FastAPI(lifespan=lifespan)


def flow_of(request: Request) -> fastflow.AsyncFlow:
    """The flow of the application."""
    flow: fastflow.AsyncFlow = request.app.state.flow
    return flow


@app.exception_handler(fastflow.NotFoundError)
async def not_found(request: Request, error: Exception) -> PlainTextResponse:
    """What is not there is answered as such."""
    return PlainTextResponse(str(error), status_code=404)


@app.exception_handler(fastflow.InvalidError)
async def invalid(request: Request, error: Exception) -> PlainTextResponse:
    """What can never work is the client's to mend."""
    return PlainTextResponse(str(error), status_code=400)


@app.exception_handler(fastflow.ConflictError)
async def conflict(request: Request, error: Exception) -> PlainTextResponse:
    """What does not go with the state that something is in, such as to cancel a run that has ended."""
    return PlainTextResponse(str(error), status_code=409)


@app.post("/pipelines/{name}/runs", status_code=202)
async def submit(name: str, request: Request, parameters: dict[str, str] | None = None) -> dict[str, str]:
    """Accepts a run. It survives the death of this process."""
    run = await flow_of(request).run(name, parameters=parameters, key=request.headers.get("Idempotency-Key"))
    return {"id": str(run.id), "status": run.status}


@app.get("/runs/{id}")
async def read(id: UUID, request: Request, wait_seconds: float = 0) -> dict[str, str | None]:
    """A run; waited for, if the caller likes."""
    flow = flow_of(request)
    try:
        run = await flow.runs.wait(id, timeout=wait_seconds) if wait_seconds else await flow.runs.get(id)
    except fastflow.TimedOutError:
        run = await flow.runs.get(id)
    return {"id": str(run.id), "status": run.status, "failure": run.failure.message if run.failure else None}


@app.get("/runs/{id}/logs")
async def logs(id: UUID, request: Request) -> StreamingResponse:
    """The log of a run, live."""
    flow = flow_of(request)
    await flow.runs.get(id)

    async def lines() -> AsyncIterator[str]:
        async for line in flow.runs.logs(id):
            yield line.text + "\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.post("/runs/{id}/cancel", status_code=202)
async def cancel(id: UUID, request: Request) -> dict[str, str]:
    """Asks for the end of a run."""
    run = await flow_of(request).runs.cancel(id)
    return {"id": str(run.id), "status": run.status}
