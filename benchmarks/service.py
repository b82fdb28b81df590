"""The latency of examples/service.py by HTTP on this machine, beside `model.stream` on the same pictures.

    python benchmarks/service.py --model FILE --images DIR [--requests 200] [--clients 1 4 16]

The clients are threads of another process, so that they take none of the server's turns at Python; they take cores.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "examples")]

import httpx  # noqa: E402
import uvicorn  # noqa: E402
from service import make_app  # noqa: E402

import yolact_ascend  # noqa: E402
from yolact_ascend.images.decode import find_images  # noqa: E402

CLIENT = "--as_client"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument(CLIENT, metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_client:
        print(measure(arguments.as_client, arguments.images, arguments.requests, arguments.clients[0]))
        return
    model = yolact_ascend.load(arguments.model)
    paths = find_images(arguments.images)
    pictures = [paths[number % len(paths)] for number in range(arguments.requests)]
    start = time.perf_counter()
    count = sum(1 for _ in model.stream(pictures))
    print(f"{model}\nmodel.stream: {count / (time.perf_counter() - start):.2f} images/s, its workers' start included")
    server = uvicorn.Server(uvicorn.Config(make_app(model), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    for clients in arguments.clients:
        words = [f"--images={arguments.images}", f"--requests={arguments.requests}", f"--clients={clients}"]
        subprocess.run([sys.executable, __file__, f"{CLIENT}={url}", *words], check=True)
    server.should_exit = True
    thread.join()


def measure(url: str, images: Path, requests: int, clients: int) -> str:
    """Send the requests from so many threads; returns their latencies in words."""
    bodies = [path.read_bytes() for path in find_images(images)]

    def client(first: int) -> list[float]:
        latencies = []
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            for number in range(first, requests, clients):
                start = time.perf_counter()
                http.post("/detect", content=bodies[number % len(bodies)]).raise_for_status()
                latencies.append(1000 * (time.perf_counter() - start))
        return latencies

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        found = [latency for part in threads.map(client, range(clients)) for latency in part]
    seconds = time.perf_counter() - start
    cuts = statistics.quantiles(found, n=100)
    rate = f"{len(found) / seconds:.2f} requests/s"
    return f"{clients} clients: {rate}, p50 {statistics.median(found):.0f} ms, p99 {cuts[98]:.0f} ms"


if __name__ == "__main__":
    main()
