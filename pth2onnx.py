"""The guide's pth2onnx.py, with the guide's flags: `yolact-ascend export` under its old name."""

from yolact_ascend.cli.main import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("export"))
