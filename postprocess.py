"""The guide's postprocess.py, with the guide's flags: `yolact-ascend postprocess` under its old name."""

from yolact_ascend.cli.main import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("postprocess"))
