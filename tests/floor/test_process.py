"""Running programs: what the user sees, and what is kept."""

import os
import re
import sys
from pathlib import Path

import pytest

from yolact_ascend.errors import ToolError, ToolTimeout
from yolact_ascend.process import Runner, capture, format_command, run_tool, signal_of, without_folders


def python(code):
    return [sys.executable, "-c", code]


def test_the_command_is_shown_as_a_line_to_paste(capfd):
    run_tool(["echo", "a b", "image:8,3"], os.environ)
    shown = capfd.readouterr()
    assert shown.err == "$ echo 'a b' image:8,3\n"
    assert shown.out == "a b image:8,3\n"


def test_a_logged_program_shows_and_keeps_both_streams(tmp_path, capfd):
    log = tmp_path / "logs" / "a.log"
    output = run_tool(python("import sys; print('out', flush=True); print('err', file=sys.stderr)"), os.environ, log)
    assert output == "out\nerr\n"
    assert re.fullmatch(r"=== 20\d\d-\S+ \$ .*print.*\nout\nerr\n", log.read_text())
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.endswith("out\nerr\n")


def test_a_failure_shows_command_code_last_lines_and_what_next(tmp_path):
    code = "import sys; print('\\n'.join(map(str, range(50)))); print('bar 10%\\rbar 90%'); sys.exit(3)"
    with pytest.raises(ToolError) as caught:
        run_tool(python(code), os.environ, tmp_path / "a.log", lambda output, code: f"{output[:4]!r}, {code}: look.")
    lines = str(caught.value).splitlines()
    assert "failed with exit code 3. The command was: " in lines[0]
    assert lines[2:-2] == [*(f"  {n}" for n in range(39, 50)), "  bar 90%"]
    assert lines[-2] == f"Its whole output: {tmp_path / 'a.log'}"
    assert lines[-1] == "'0\\n1\\n', 3: look."


def test_a_failure_that_nobody_explains_names_the_page_of_errors(tmp_path):
    for explain in (None, lambda output, code: None):
        with pytest.raises(ToolError, match=r"\ndocs/troubleshooting\.md explains errors by their text\.$"):
            run_tool(python("import sys; sys.exit(3)"), os.environ, tmp_path / "a.log", explain)


def test_errors_above_a_long_usage_text_are_shown(tmp_path):
    code = "print('[ERROR] /x is group writable'); print('[INFO] a'); print('usage\\n' * 40); raise SystemExit(2)"
    with pytest.raises(ToolError) as caught:
        run_tool(python(code), os.environ, tmp_path / "a.log")
    lines = str(caught.value).splitlines()
    assert lines[1:4] == ["Its errors:", "  [ERROR] /x is group writable", "Its last lines:"]


@pytest.mark.parametrize(
    "line",
    [
        "[ACL ERROR] EL0004: [PID: 106] 2025-10-30-08:21:08.817.477 Failed to allocate memory.",
        "[PID: 4711] 2026-08-01-10:00:00.000.000 Not_Supported_Operator(E13010): No operator plugin is registered.",
        "E19010: No parser is registered.",
    ],
)
def test_what_the_device_says_is_shown_above_a_long_traceback(tmp_path, line):
    """ais_bench prints the runtime's words, then ends with Python's traceback (captures of CANN 8.0 and 8.5)."""
    code = f"print({line!r}); print('  File x\\n' * 40); raise SystemExit(1)"
    with pytest.raises(ToolError) as caught:
        run_tool(python(code), os.environ, tmp_path / "a.log")
    assert str(caught.value).splitlines()[1:4] == ["Its errors:", f"  {line}", "Its last lines:"]


@pytest.mark.parametrize(
    ("end", "said"),
    [("exit 137", r"SIGKILL \(exit code 137\)"), ("kill -SEGV $$", r"SIGSEGV \(exit code -11\)")],
)
def test_a_program_that_a_signal_ended_is_said(tmp_path, end, said):
    """A shell's script passes on 128 + signal (cases of atc: 137, 139)."""
    with pytest.raises(ToolError, match=f"^bash was ended by signal {said}. The command"):
        run_tool(["bash", "-c", end], os.environ, tmp_path / "a.log")
    assert [signal_of(code) for code in (0, 1, 128, 255)] == [None, None, None, None]


def test_a_program_holds_the_descriptors_that_it_is_given(tmp_path):
    with (tmp_path / "lock").open("w") as file:
        code = f"import os; os.write({file.fileno()}, b'held')"
        run_tool(python(code), os.environ, tmp_path / "a.log", pass_fds=[file.fileno()])
    assert (tmp_path / "lock").read_text() == "held"


def test_a_failure_of_our_own_stage_points_to_its_message():
    with pytest.raises(ToolError, match="exit code 2; its own message is above"):
        run_tool(python("raise SystemExit(2)"), os.environ)


def test_a_missing_program_is_named():
    with pytest.raises(ToolError, match="Cannot start no-such-program: No such file"):
        run_tool(["no-such-program"], os.environ)
    with pytest.raises(ToolError, match="Cannot start no-such-program"):
        capture(["no-such-program"], os.environ)


def test_a_query_that_does_not_end_is_ended():
    """Also where a child of it, which holds its output open, lives on."""
    with pytest.raises(ToolTimeout, match=r"^sh -c 'sleep 5; true' gave no answer within 0\.1 s and was ended\.$"):
        capture(["sh", "-c", "sleep 5; true"], os.environ, limit_s=0.1)


def test_an_interrupt_ends_the_program_too(tmp_path, monkeypatch):
    code = "import time, pathlib; pathlib.Path('started').touch(); time.sleep(60); pathlib.Path('ended').touch()"
    monkeypatch.chdir(tmp_path)
    started = []

    def interrupt(process, log, watch):
        while not (tmp_path / "started").exists():
            pass
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr("yolact_ascend.process._tee", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_tool(python(code), os.environ, tmp_path / "a.log")
    assert started[0].poll() is not None
    assert not (tmp_path / "ended").exists()
    started[0].stdout.close()


def test_a_command_without_its_folders_has_the_names_of_files():
    command = ["/opt/my py/bin/python3", "../pkg/yolact_ascend", "compile", "--model=r/a b.onnx", "--batch_size=8"]
    found = format_command(without_folders([*command, "--output", "/tmp/r/m", "image:8,3", "/"]))
    assert found == "python3 yolact_ascend compile '--model=a b.onnx' --batch_size=8 --output m image:8,3 /"


def test_format_command_quotes_for_a_shell():
    assert (
        format_command(["atc", "--input_shape", "image:8,3", "a b", "$x"]) == "atc --input_shape image:8,3 'a b' '$x'"
    )


def test_a_line_is_announced_before_its_program_starts(tmp_path):
    """A run's log has the command of a stage that was killed."""
    announced = tmp_path / "line"
    with Path(os.devnull).open() as lock:
        runner = Runner(lock.fileno(), dict(os.environ), announced.write_text)
        assert runner.run_own(["cat", str(announced)], log=tmp_path / "log") == f"cat {announced}"
    assert runner.commands == [f"cat {announced}"]
