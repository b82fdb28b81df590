"""examples/service.py by real HTTP: nothing is lost, results are those of the model, and each refusal has its code."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from factories import CHECKOUT
from played import MeanDetector, picture, save_averaging

from yolact_ascend.cli.main import main
from yolact_ascend.host.loading import load
from yolact_ascend.host.model import Model
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

httpx = pytest.importorskip("httpx", reason="httpx is not installed (requirements-dev.txt)")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed (requirements-dev.txt)")
pytest.importorskip("fastapi", reason="fastapi is not installed (requirements-dev.txt)")
CLIENTS, REQUESTS = 16, 500


@pytest.fixture(scope="module")
def service():
    spec = importlib.util.spec_from_file_location("service", CHECKOUT / "examples" / "service.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served(app):
    """The application on a port of 127.0.0.1; gives its URL. It has ended, cleanly, after the block."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def encoded(level):
    return cv2.imencode(".png", picture(level))[1].tobytes()


def test_sixteen_clients_and_500_requests(service, tmp_path):
    """Each gets the answer to its own picture; a bad picture among them gets 400; the end closes the model."""
    model = Model([OnnxEngine(save_averaging(tmp_path / "m.onnx"))], MeanDetector())
    bodies = [encoded(level) for level in range(256)]
    expected = [found.to_coco(0) for found in model([picture(level) for level in range(256)])]
    app = service.make_app(model)
    with served(app) as url:

        def client(first):
            answers = {}
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
                for number in range(first, REQUESTS, CLIENTS):
                    body = b"no picture" if number % 100 == 99 else bodies[number % 256]
                    answers[number] = http.post("/detect", content=body)
                health = http.get("/health").json()
            return answers, health

        with ThreadPoolExecutor(CLIENTS) as threads:
            parts = list(threads.map(client, range(CLIENTS)))
    answers = {number: answer for part, _ in parts for number, answer in part.items()}
    assert sorted(answers) == list(range(REQUESTS))
    for number, answer in answers.items():
        if number % 100 == 99:
            assert answer.status_code == 400 and "cannot be decoded as an image" in answer.json()["detail"]
            continue
        found = answer.json()
        assert answer.status_code == 200 and (found["width"], found["height"]) == (30, 20)
        entries = [{**entry, "class_name": "star"} for entry in expected[number % 256]]
        assert found["detections"] == json.loads(json.dumps(entries))
    assert all(health["most_waiting"] == 32 and health["waiting"] <= CLIENTS for _, health in parts)
    assert "closed" in repr(model)


def ask(app, *bodies):
    """Send bodies at the same time, in this process."""

    async def send():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=30) as http:
            return await asyncio.gather(*(http.post("/detect", content=body) for body in bodies))

    return asyncio.run(send())


def test_a_full_queue_and_a_huge_picture_are_refused(service, monkeypatch):
    go = threading.Event()

    class Blocked:
        path, device = "m.onnx", "nowhere"

        def __call__(self, body):
            assert go.wait(30)
            raise service.yolact_ascend.DatasetError("read at last")

    threading.Timer(0.5, go.set).start()
    codes = sorted(answer.status_code for answer in ask(service.make_app(Blocked(), most_waiting=3), *[b"x"] * 5))
    assert codes == [400, 400, 400, 503, 503]
    monkeypatch.setattr(service, "MOST_BYTES", 10)
    (answer,) = ask(service.make_app(Blocked()), b"x" * 11)
    assert answer.status_code == 413 and "Scale it down" in answer.json()["detail"]


def test_slow_clients_and_those_that_leave_keep_nobody_out(service, monkeypatch, caplog):
    """They send a head and a part of a picture: places and the end of the service must not wait for the rest."""

    class Ready:
        path, device = "m.onnx", "nowhere"
        close = staticmethod(lambda: None)

        def __call__(self, body):
            raise service.yolact_ascend.DatasetError("read")

    monkeypatch.setattr(service, "MOST_SECONDS", 0.5)
    with served(service.make_app(Ready(), most_waiting=2)) as url, contextlib.ExitStack() as stack:
        host, port = url.removeprefix("http://").split(":")
        for stays in (True, False):
            client = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            client.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
            if stays:
                slow = client
            else:
                client.close()
        assert b"408" in slow.recv(1000)
        assert httpx.post(f"{url}/detect", content=b"x", trust_env=False).json() == {"detail": "read"}
        assert httpx.get(f"{url}/health", trust_env=False).json()["waiting"] == 0
    assert "ClientDisconnect" not in caplog.text


def test_the_results_are_those_of_predict(service, tiny_onnx, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3))
    assert main(["predict", str(path), f"--model={tiny_onnx}", f"--save_path={tmp_path / 'out'}"]) == 0
    expected = json.loads((tmp_path / "out" / "detections.json").read_text())["detections"]
    with load(tiny_onnx) as model:
        (answer,) = ask(service.make_app(model), path.read_bytes())
    found = answer.json()["detections"]
    assert found
    assert found == [{**{key: entry[key] for key in found[0]}, "image_id": 0} for entry in expected]
