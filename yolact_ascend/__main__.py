"""`python -m yolact_ascend`."""

from yolact_ascend.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
