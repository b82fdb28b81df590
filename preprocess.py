"""The guide's preprocess.py, with the guide's flags: `yolact-ascend preprocess` under its old name."""

from yolact_ascend.cli.main import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("preprocess"))
