"""A service: one model, many clients. python examples/service.py MODEL; then POST a picture's bytes to /detect.

It answers 400 to what is no picture, 408 to one that does not come in time, 413 to one that is too large, and 503 while
too many requests wait.
Needs: pip install fastapi uvicorn
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from starlette.requests import ClientDisconnect

import yolact_ascend

MOST_BYTES = 32_000_000  # of a picture
MOST_SECONDS = 30.0  # for a picture to come: slow clients would take the places of all others, and hold up the end
THREADS = 2  # while the model computes one picture, the next is decoded


def make_app(model: yolact_ascend.Model, most_waiting: int = 32) -> FastAPI:
    """Return the application; it closes the model when it ends, after the requests that it has taken."""
    threads = ThreadPoolExecutor(THREADS)
    waiting = 0

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        threads.shutdown()
        model.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"model": str(model.path), "device": model.device, "waiting": waiting, "most_waiting": most_waiting}

    @app.post("/detect")
    async def detect(request: Request) -> dict[str, Any]:
        nonlocal waiting
        if waiting >= most_waiting:  # before the picture is read: memory has a bound, too
            raise HTTPException(503, f"{waiting} requests are waiting already. Try again.", {"Retry-After": "1"})
        waiting += 1
        try:
            picture = await asyncio.wait_for(read_body(request), MOST_SECONDS)
            found = await asyncio.get_running_loop().run_in_executor(threads, model, picture)
        except asyncio.TimeoutError as error:
            raise HTTPException(408, f"The picture did not come in {MOST_SECONDS:g} s. Try again.") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "The client left before its picture was here.") from error
        except yolact_ascend.DatasetError as error:
            raise HTTPException(400, str(error)) from error
        finally:
            waiting -= 1
        return {"width": found.width_px, "height": found.height_px, "detections": found.to_coco(0)}

    return app


async def read_body(request: Request) -> bytes:
    """Return what a client sends, up to `MOST_BYTES`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"The picture has more than {MOST_BYTES} bytes. Scale it down.")
    return bytes(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model (.om, .xml, .onnx), a folder with one, or weights (.pth)")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    uvicorn.run(make_app(yolact_ascend.load(arguments.model)), port=arguments.port)
