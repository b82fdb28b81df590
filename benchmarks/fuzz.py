"""Damaged inputs, by the thousand: each must be accepted rightly or refused with a sentence.

    python benchmarks/fuzz.py --cases 2000 --seed 0 --out FILE.jsonl [--kinds annotations,weights]
    python benchmarks/fuzz.py --replay FILE.jsonl [--kinds annotations]

Hypothesis damages valid annotation files, ids.json, class records, `.pth`, the stand-in's `.om`, side-cars, AIPP files
and the words of a run (fuzz_kinds.py), and calls the readers that the verbs call. A finding is a traceback, a hang, a
crash, memory beyond --memory_gb, or a result that is wrong: other weights, another mAP than pycocotools'. Each is
written with its seed and the least damage that brings it. --replay tries the findings of a file again.

The same command resumes: chunks in FILE.jsonl are not repeated. A chunk runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fuzz_kinds import CHECKOUT, KINDS
from fuzz_worker import OUTCOMES, Task, outcome
from journal import Journal, Refused, commit_of

CHUNK = 250  # cases
MOST_CRASHES = 20  # of a chunk
WORKER = Path(__file__).with_name("fuzz_worker.py")


def main() -> int:
    """Try the chunks that are missing in the results, then print the table; 1 when there are findings."""
    args = parse_args()
    if args.replay:
        return replay(args.replay, args.kinds)
    try:
        journal = Journal(args.out, {"commit": commit_of(CHECKOUT), "seed": args.seed, "chunk": args.chunk})
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    done = {(entry["kind"], entry["chunk"]) for entry in journal.entries}
    for number in range(-(-args.cases // args.chunk)):
        for kind in args.kinds:
            if (kind, number) not in done:
                cases = min(args.chunk, args.cases - number * args.chunk)
                task = Task(kind, number, args.seed, cases, args.memory_gb, known_of(kind, journal.entries))
                begin = time.monotonic()
                journal.add(run_chunk(task))
                found = [finding["what"] for finding in journal.entries[-1]["findings"]]
                took = f"{time.monotonic() - begin:.0f} s"
                print(f"{kind} {number}: {took} {found or ''}", file=sys.stderr, flush=True)
    print(table(journal.entries))
    return int(any(entry["findings"] for entry in journal.entries))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--out", type=Path, help="results, one JSON object a line")
    parser.add_argument("--memory_gb", type=float, default=4.0, help="what a case may allocate")
    parser.add_argument("--chunk", type=int, default=CHUNK, help="cases of one process")
    parser.add_argument("--replay", type=Path, help="try the findings in a file of results again")
    args = parser.parse_args()
    args.kinds = [kind for kind in args.kinds.split(",") if kind in KINDS]
    if not args.kinds or (args.out is None and args.replay is None):
        parser.error(f"pass --out, or --replay, and kinds among {', '.join(KINDS)}")
    return args


def known_of(kind: str, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Return the findings of a kind so far, which need no shrinking again."""
    return [finding["what"] for entry in entries if entry["kind"] == kind for finding in entry["findings"]]


def run_chunk(task: Task) -> dict[str, Any]:
    """Run a chunk in a process; what makes the process end is a finding, and is left out from then on."""
    crashes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        task.current = str(Path(folder) / "current.json")
        while True:
            command = [sys.executable, str(WORKER)]
            result = subprocess.run(
                command, input=json.dumps(asdict(task)), capture_output=True, text=True, check=False
            )
            if result.returncode == 0:
                chunk = json.loads(result.stdout)
                chunk["findings"] += crashes
                return chunk
            if not Path(task.current).exists() or len(task.skipped) == MOST_CRASHES:
                raise RuntimeError(f"{task.kind} {task.chunk}: code {result.returncode}\n{result.stderr[-3000:]}")
            damage = Path(task.current).read_text()
            Path(task.current).unlink()
            task.skipped.append(damage)
            what = f"the process ends with code {result.returncode}"
            if what not in (crash["what"] for crash in crashes):
                crashes.append({"what": what, "damage": json.loads(damage), "trace": result.stderr[-2000:]})


def replay(path: Path, kinds: Sequence[str]) -> int:
    """Try the findings of a file again; print what comes of each now. 1 when there is still one."""
    left = 0
    for line in path.read_text().splitlines()[1:]:
        entry = json.loads(line)
        if entry["kind"] not in kinds:
            continue
        for finding in entry["findings"]:
            with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
                kind = KINDS[entry["kind"]]
                now, trace = outcome(
                    kind, kind.prepare(Path(folder)), finding["damage"], Task(entry["kind"], 0, 0, 1, 0)
                )
            left += now not in OUTCOMES
            print(f"{entry['kind']}: {finding['what']}\n  {json.dumps(finding['damage'])[:300]}\n  now: {now}\n{trace}")
    return int(left > 0)


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Return the counts by kind, then the findings with the least damage of each."""
    rows = ["| kind | readers | cases | accepted | refused | findings |", "|---|---|---:|---:|---:|---:|"]
    for kind in dict.fromkeys(entry["kind"] for entry in entries):
        chunks = [entry for entry in entries if entry["kind"] == kind]
        outcomes = Counter()
        for chunk in chunks:
            outcomes.update(chunk["outcomes"])
        cases = sum(chunk["cases"] for chunk in chunks)
        accepted, refused, system = (outcomes[name] for name in OUTCOMES)
        found = len({finding["what"] for chunk in chunks for finding in chunk["findings"]})
        rows.append(f"| {kind} | {KINDS[kind].readers} | {cases} | {accepted} | {refused + system} | {found} |")
    for entry in entries:
        for finding in entry["findings"]:
            damage = json.dumps(finding["damage"])
            rows.append(f"- {entry['kind']} (chunk {entry['chunk']}): {finding['what']}: `{damage[:300]}`")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
