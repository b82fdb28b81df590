"""What is private is taken out of texts, and what is not stays."""

from pathlib import Path

import pytest

from yolact_ascend.analysis.redact import Redactor

ENV = {
    "USER": "maria",
    "HOME": "/data/people/maria",
    "HF_TOKEN": "hf_abcdef123456",
    "MY_PASSWORD": "x",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "PIP_INDEX_URL": "https://maria:pa55word@mirror.example/simple",
    "LD_LIBRARY_PATH": "/usr/local/Ascend/lib64:/data/people/maria/lib",
    "ASCEND_HOME_PATH": "/usr/local/Ascend/cann",
    "LESSOPEN": "| something private",
}


@pytest.fixture
def redactor():
    return Redactor(ENV, Path("/data/people/maria"), "node-17")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("open /data/people/maria/coco/1.jpg", "open ~/coco/1.jpg"),
        ("/data/people/marianne/x", "/data/people/marianne/x"),
        ("/home/otto/run.log: failed", "/home/<user>/run.log: failed"),
        ("/mnt/maria/x and maria@node-17", "/mnt/<user>/x and <user>@<host>"),
        ("cloned with hf_abcdef123456", "cloned with <redacted>"),
        ("x stays: secrets of less than six letters are words", "x stays: secrets of less than six letters are words"),
        ("--token=qwertz --device=0", "--token=<redacted> --device=0"),
        ('{"password": "qwertz", "batch": 8}', '{"password": "<redacted>", "batch": 8}'),
        ('{"token": "two words", "batch": 8}', '{"token": "<redacted>", "batch": 8}'),
        ("--password qwertz --device 0", "--password <redacted> --device 0"),
        ("pwd=qwertz passphrase=qwertz PWD=/data/run", "pwd=<redacted> passphrase=<redacted> PWD=/data/run"),
        ("Authorization: Bearer abc.def", "Authorization: <redacted>"),
        ("Authorization: Basic bTpwYXNz\nnext line", "Authorization: <redacted>\nnext line"),
        ("Cookie: session=qwertz", "Cookie: <redacted>"),
        ("X-Auth-Key: 12345abcde", "X-Auth-Key: <redacted>"),
        ("https://u:p@host/x and https://host/x", "https://<redacted>@host/x and https://host/x"),
        ("https://u:p@ss@host/x", "https://<redacted>@host/x"),
        ("git+https://host/x@v1", "git+https://host/x@v1"),
        (
            "https://host/f?X-Amz-Signature=beef&X-Amz-Credential=A1&size=1 https://host/f?sv=1&sig=beef",
            "https://host/f?X-Amz-Signature=<redacted>&X-Amz-Credential=<redacted>&size=1 "
            "https://host/f?sv=1&sig=<redacted>",
        ),
        ("cloned with ghp_0123456789abcdef, hf_0123456789abcdef", "cloned with <redacted>, <redacted>"),
        ("key AKIAIOSFODNN7EXAMPLE, eyJhbGciOiJI.eyJzdWIi.c2ln", "key <redacted>, <redacted>"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx",
            "-----BEGIN RSA PRIVATE KEY----- <redacted> -----END RSA PRIVATE KEY-----\nx",
        ),
        (r"/Users/otto/x C:\Users\otto\x", r"/Users/<user>/x C:\Users\<user>\x"),
        ("token: 4 tokens, secrets, pixel_key=3, design=2", "token: <redacted> tokens, secrets, pixel_key=3, design=2"),
        ("atc --soc_version=Ascend310P3", "atc --soc_version=Ascend310P3"),
        (
            "[ERROR] E10001: Value [1] for parameter [--input_shape]",
            "[ERROR] E10001: Value [1] for parameter [--input_shape]",
        ),
    ],
)
def test_texts(redactor, text, shown):
    assert redactor.text(text) == shown


def test_a_user_or_host_that_is_a_word_of_the_texts_stays():
    """The user that CANN's installer makes is HwHiAiUser; hosts are called after the card, too."""
    redactor = Redactor({"USER": "HwHiAiUser"}, Path("/root"), "Ascend")
    text = "target=ascend, add the user to the group HwHiAiUser, /usr/local/Ascend/driver"
    assert redactor.text(text) == text
    assert redactor.text("/root/x") == "~/x"


def test_the_environment(redactor):
    assert redactor.environment(ENV).splitlines() == [
        "ASCEND_HOME_PATH=/usr/local/Ascend/cann",
        "HOME=~",
        "LD_LIBRARY_PATH=/usr/local/Ascend/lib64:~/lib",
        "PIP_INDEX_URL=https://<redacted>@mirror.example/simple",
        "# set, too, values left out: AWS_SECRET_ACCESS_KEY HF_TOKEN LESSOPEN MY_PASSWORD USER",
    ]


def test_a_secret_of_a_tool_is_no_exception():
    secrets = {"ASCEND_TOKEN": "qwertz", "PIP_PASS": "qwertz", "PIP_PAT": "qwertz", "NPU_PASSPHRASE": "qwertz"}
    shown = Redactor({}, Path("/root"), "").environment(secrets)
    assert "qwertz" not in shown and shown.count("<redacted>") == len(secrets)
    assert "PYTHONPATH=/x" in Redactor({}, Path("/root"), "").environment({"PYTHONPATH": "/x"})
