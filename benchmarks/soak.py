"""Kills of commands at random moments: does the same command, run again, end as if nothing had happened?

    python benchmarks/soak.py --kills 100 --seed 0 --work DIR --out FILE.jsonl [--only TEXT]

Each kill -9 hits a command, the command and all its processes, or one of its processes (soak_commands.py: whole runs,
staged and streamed, benchmarks, training, and the verbs by hand, for two batch sizes). Then the same command runs
again, to the end. All that it wrote is compared, byte for byte, with a run that nobody disturbed (soak_compare.py lists
the times that may differ). No process may be left, no *.part, nothing in the temporary folder and /dev/shm.

The same command resumes: kills in FILE.jsonl are not repeated, and DIR keeps the undisturbed runs. The folder of a kill
that brought a fault stays in DIR. As root on Linux the commands get a /dev/shm of their own, so that nothing of other
programs is counted. Takes about a minute a kill on two busy cores, and 2 GB in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from journal import Journal, Refused, commit_of
from soak_commands import CHECKOUT, WHOLE, Command, all_commands, begin, folder_name, prepare, write_data
from soak_compare import differences
from soak_process import ALL, COMMAND, ONE, Process

VICTIMS = (COMMAND, COMMAND, ALL, ONE)  # the first is drawn twice as often
SHARED_MEMORY = Path("/dev/shm")
OWN_MEMORY = "SOAK_OWN_MEMORY"  # set in the namespace with a /dev/shm of its own
MOST_TRIES = 6
OLD_S = 120  # what was left behind is made older by this, as if the next run came later: fresh files are not swept


@dataclass(frozen=True)
class Kill:
    """One kill: of what, and when. `share` is of the time from the moment to the next, as an undisturbed run took."""

    number: int
    command: str
    moment: str
    share: float
    victim: str


def main() -> int:
    """Do the kills that are missing in the results, then print the table; 1 when there are faults."""
    args = parse_args()
    have_own_shared_memory()
    kills = draw_kills(args.kills, args.seed, args.only)
    try:
        journal = Journal(args.out, {"commit": commit_of(CHECKOUT), "seed": args.seed, "only": args.only})
        soak = Soak(args.work, commit_of(CHECKOUT))
        done = {entry["number"] for entry in journal.entries}
        for kill in kills:
            if kill.number not in done:
                entry = soak.try_kill(kill)
                journal.add(entry)
                say(f"{kill.number + 1}/{args.kills} {kill.command} {kill.moment}: {entry['faults'] or 'no fault'}")
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(journal.entries))
    return int(any(entry["faults"] for entry in journal.entries))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON object a line")
    parser.add_argument("--only", default="", help="commands whose name contains this")
    args = parser.parse_args()
    args.work = args.work.resolve()
    return args


def have_own_shared_memory() -> None:
    """Start again in a mount namespace with an empty /dev/shm, where that is possible."""
    unshare = shutil.which("unshare")
    if os.environ.get(OWN_MEMORY) or unshare is None or os.geteuid() != 0:
        return
    mount = f"mount -t tmpfs tmpfs {SHARED_MEMORY}"
    namespace = [unshare, "--mount", "--propagation", "private", "sh", "-c"]
    if subprocess.run([*namespace, mount], capture_output=True, check=False).returncode == 0:
        again = [*namespace, f'{mount} && exec "$@"', "sh", sys.executable, *sys.argv]
        os.execve(unshare, again, {**os.environ, OWN_MEMORY: "1"})


def draw_kills(count: int, seed: int, only: str = "") -> list[Kill]:
    """Draw kills so that each moment of each command comes once before one comes again; a prefix stays the same."""
    moments = [
        (command.name, moment)
        for command in all_commands().values()
        for moment in command.moments
        if only in command.name
    ]
    generator = random.Random(seed)
    kills: list[Kill] = []
    while len(kills) < count:
        for name, moment in generator.sample(moments, len(moments)):
            kills.append(Kill(len(kills), name, moment, generator.random(), generator.choice(VICTIMS)))
    return kills[:count]


class Soak:
    """The folder of a soak: the data, the undisturbed runs, and the run that is being killed."""

    def __init__(self, work: Path, commit: str) -> None:
        """Draw the data unless they are there, and remove undisturbed runs of another commit."""
        self.commands = all_commands()
        self._work = work
        self._data, self._references = work / "data", work / "undisturbed"
        stamp = work / "commit"
        if not stamp.is_file() or stamp.read_text() != commit:
            shutil.rmtree(self._references, ignore_errors=True)
            work.mkdir(parents=True, exist_ok=True)
            stamp.write_text(commit)
        if not self._data.is_dir():
            temporary = work / "data.part"
            shutil.rmtree(temporary, ignore_errors=True)
            write_data(temporary)
            temporary.rename(self._data)

    def reference(self, command: Command) -> dict[str, float]:
        """Run a command undisturbed unless that was done; return when it printed its moments, and when it ended."""
        folder = self._references / folder_name(command.name)
        times = folder.with_name(f"{folder.name}.json")
        if not times.is_file():
            if command.after is not None:
                self.reference(self.commands[command.after])
            shutil.rmtree(folder, ignore_errors=True)
            prepare(command, self._data, self._references, folder)
            say(f"undisturbed: {command.name}")
            process = Process(command, folder, "undisturbed")
            found = process.watch([line for moment in command.moments for line in ends_of(moment)])
            if process.wait() != 0:
                raise Refused(f"{command.name} fails undisturbed:\n{process.output()}")
            times.write_text(json.dumps({**found, "end": process.seconds()}))
            process.put_aside()
        return json.loads(times.read_text())

    def usual_files(self, command: Command) -> Path:
        """Return the folder with what libraries leave in the temporary folder when nobody disturbs them."""
        return self._references / f"{folder_name(command.name)}.tmp"

    def try_kill(self, kill: Kill) -> dict:
        """Do one kill and the run after it; return the line of the results."""
        command = self.commands[kill.command]
        delay = delay_of(kill, self.reference(command))
        folder = self._work / "killed" / str(kill.number)
        for _ in range(MOST_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            begin(command, kill.moment, self._data, self._references, folder)
            before = {path.name for path in _new_in(SHARED_MEMORY, set())}
            process = Process(command, folder, str(kill.number))
            if process.wait_for(awaited(kill.moment)) and process.is_running_after(delay):
                break
            process.wait()
            delay /= 2  # it ended before: this machine is quicker now
        else:
            raise Refused(f"{kill} always comes too late:\n{process.output()[-2000:]}")
        hit = process.kill(kill.victim)
        waited, faults = process.end(kill.victim)
        faults += [f"killed: {line}" for line in tracebacks(process.output())]
        make_older(folder / "tmp", SHARED_MEMORY, before)
        again = Process(command, folder, str(kill.number))
        code = again.wait()
        faults += [f"again: {line}" for line in tracebacks(again.output())]
        if code != 0:
            faults.append(f"again: exit code {code}: {again.output()[-400:]}")
        faults += again.end(ALL)[1]
        faults += left_behind(folder / "tmp", self.usual_files(command), SHARED_MEMORY, before)
        outputs = process.output()[-300:]
        temporary = process.put_aside()
        if code == 0:
            faults += differences(self._references / folder_name(command.name), folder)
        if not faults:
            shutil.rmtree(folder)
            shutil.rmtree(temporary)
        return {
            **asdict(kill),
            **{"delay_s": round(delay, 3), "hit": hit, "ended_s": round(waited, 2), "faults": faults},
            **({"last": outputs} if faults else {}),
        }


def ends_of(moment: str) -> list[str]:
    """Return the lines between which a kill of that moment falls; the second may be missing: the end."""
    return [moment, moment.replace("running", "done")] if moment != WHOLE else []


def awaited(moment: str) -> str:
    """Return the line after which a kill of that moment comes; what is done already is not done again."""
    return moment.replace("done", "up to date")


def delay_of(kill: Kill, times: dict[str, float]) -> float:
    """Return how long after the moment's line the kill comes."""
    first, *last = ends_of(kill.moment) or [WHOLE]
    end = times[last[0]] if last and last[0] != first else times["end"]
    return kill.share * (end - times.get(first, 0.0))


def make_older(temporary: Path, shared: Path, before: set[str]) -> None:
    """Set back the times of what was left behind."""
    for path in (*temporary.rglob("*"), *_new_in(shared, before)):
        stat = path.stat()
        os.utime(path, (stat.st_atime - OLD_S, stat.st_mtime - OLD_S))


def left_behind(temporary: Path, usual: Path, shared: Path, before: set[str]) -> list[str]:
    """Return a line for each file that is still there after the second run."""
    known = {path.relative_to(usual) for path in usual.rglob("*")}
    found = [path for path in temporary.rglob("*") if path.relative_to(temporary) not in known]
    found += [*temporary.parent.rglob("*.part"), *_new_in(shared, before)]
    return [f"left behind: {path}" for path in found]


def tracebacks(output: str) -> Iterator[str]:
    """Give the last line of each traceback in an output."""
    lines = iter(output.splitlines())
    for line in lines:
        if line.startswith("Traceback"):
            yield "traceback: " + next((later for later in lines if not later.startswith(" ")), "it is cut short")


def table(entries: Sequence[dict]) -> str:
    """Return the results: kills and kills with faults by command and victim, then the faults."""
    kills, faults = Counter(), Counter()
    for entry in entries:
        kills[entry["command"]] += 1
        faults[entry["command"]] += bool(entry["faults"])
    rows = ["| command | kills | with faults |", "|---|---:|---:|"]
    rows += [f"| {name} | {count} | {faults[name]} |" for name, count in sorted(kills.items())]
    rows.append(f"| all | {sum(kills.values())} | {sum(faults.values())} |")
    for entry in entries:
        where = f"- {entry['number']}: {entry['command']} {entry['moment']} + {entry['delay_s']} s, {entry['victim']}"
        rows += [f"{where}: {fault}" for fault in entry["faults"]]
    return "\n".join(rows)


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _new_in(folder: Path, before: set[str]) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in before] if folder.is_dir() else []


if __name__ == "__main__":
    sys.exit(main())
