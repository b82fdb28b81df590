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
        ("Authorization: Bearer abc.def", "Authorization: Bearer <redacted>"),
        ("https://u:p@host/x and https://host/x", "https://<redacted>@host/x and https://host/x"),
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
    assert "qwertz" not in Redactor({}, Path("/root"), "").environment({"ASCEND_TOKEN": "qwertz"})
