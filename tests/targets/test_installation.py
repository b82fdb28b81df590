"""Where CANN and its driver are found, and which release it is; the layouts are those of first_contact.md."""

import pytest

from yolact_ascend.targets.ascend import installation
from yolact_ascend.targets.ascend.installation import (
    describe_search,
    driver_folder,
    find_set_env,
    read_cann_version,
    release_of,
    sign_of_card,
)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """An empty file system."""
    monkeypatch.setattr(installation, "ROOT", tmp_path / "root")
    return tmp_path


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_places_of_cann_in_their_order(host):
    """Root and other users, CANN before and since 8.5, elsewhere by the variables and the installer's record."""
    env = {"HOME": str(host / "home")}
    assert find_set_env(env) is None
    assert "home/Ascend/{cann,ascend-toolkit,nnrt}" in describe_search(env)
    root, home = host / "root" / "usr" / "local" / "Ascend", host / "home" / "Ascend"
    env["CONDA_PREFIX"] = str(host / "conda")  # `conda install ascend::cann-toolkit` (guides to CANN 8.5 and 9.1)
    conda = host / "conda" / "Ascend" / "cann"
    for path in (
        conda,
        home / "ascend-toolkit",
        home / "cann",
        root / "ascend-toolkit",
        root / "cann",
    ):  # the worst first
        set_env = write(path / "set_env.sh")
        assert find_set_env(env).set_env == set_env
    own_record = write(home / "ascend_cann_install.info", "Toolkit_InstallPath=/own/ascend-toolkit\n")
    own = write(host / "root" / "own" / "ascend-toolkit" / "set_env.sh")
    assert find_set_env(env).set_env == own
    assert find_set_env(env).reason == f"{own_record} names /own/ascend-toolkit"
    # As on a host with CANN 8.5: Install_Path=/usr/local/Ascend, Toolkit_InstallPath=/usr/local/Ascend/cann-8.5.2
    text = "Install_Path=/opt/Ascend\nToolkit_InstallPath=/opt/Ascend/cann-8.5.2\n"
    write(host / "root" / "etc" / "Ascend" / "ascend_cann_install.info", text)
    assert find_set_env(env).set_env == own  # a record of what was removed
    versioned = write(host / "root" / "opt" / "Ascend" / "cann-8.5.2" / "set_env.sh")
    assert find_set_env(env).set_env == versioned
    for variable in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        latest = host / variable / "latest"
        beside = write(host / variable / "set_env.sh")  # before 8.5 it is beside latest/
        env[variable] = str(latest)
        assert find_set_env(env) == installation.Found(beside, f"{variable} is {latest}")
        within = write(latest / "set_env.sh")
        assert find_set_env(env).set_env == within


def test_without_a_home_only_the_places_of_root_are_searched(host):
    assert find_set_env({}) is None
    assert find_set_env({"HOME": "", "ASCEND_HOME_PATH": ""}) is None


def test_what_this_user_may_not_read_is_not_there(host, monkeypatch):
    """Root's installations may be closed to others (mode 750)."""
    write(host / "root" / "etc" / "Ascend" / "ascend_cann_install.info", "Toolkit_InstallPath=/opt/cann\n")
    write(host / "root" / "opt" / "cann" / "set_env.sh")
    write(host / "cann" / "version.cfg", "version=8.0.0\n")
    env = {"ASCEND_HOME_PATH": str(host / "cann")}
    assert find_set_env(env) and read_cann_version(env) == "8.0.0"

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(installation.Path, "read_text", refuse)
    assert find_set_env(env) is None and read_cann_version(env) == "unknown"


def test_the_driver_is_where_its_record_says(host):
    assert driver_folder() == host / "root" / "usr" / "local" / "Ascend" / "driver"
    assert sign_of_card() is None
    write(
        host / "root" / "etc" / "ascend_install.info",
        "Driver_Install_Mode=normal\nDriver_Install_Path_Param=/opt/npu\n",
    )
    write(host / "root" / "opt" / "npu" / "driver" / "version.info")
    assert sign_of_card() == driver_folder() == host / "root" / "opt" / "npu" / "driver"


TOOLKIT = "aarch64-linux/ascend_toolkit_install.info"


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({TOOLKIT: "package_name=Ascend-cann-toolkit\nversion=8.0.RC2\ninnerversion=V100R001\n"}, "8.0.RC2"),
        (
            {TOOLKIT: "version=8.0.0\n", "version.cfg": "toolkit_running_version=[7.6.0.1.220:8.0.0]\n"},
            "8.0.0",
        ),
        ({"version.cfg": "# version: 1.0\nruntime_running_version=[7.6.0.1.220:8.0.0]\n"}, "8.0.0"),
        ({"version.cfg": "runtime_running_version=[6.3.0:CANN-6.3]\n"}, "6.3"),
        ({"version.cfg": "version=8.0.RC2\n"}, "8.0.RC2"),
        ({"x86_64-linux/ascend_nnrt_install.info": "package_name=Ascend-cann-nnrt\nversion=8.2.RC1\n"}, "8.2.RC1"),
        ({"version.cfg": "nothing\n"}, "unknown"),
        ({}, "unknown"),
    ],
    ids=["install.info", "both", "version.cfg", "6.3", "by hand", "the runtime", "no version", "no file"],
)
@pytest.mark.parametrize("variable", installation.HOMES)
def test_the_release_is_read_where_a_variable_points(tmp_path, monkeypatch, variable, files, version):
    for name, text in files.items():
        write(tmp_path / "cann" / name, text)
    assert read_cann_version({variable: str(tmp_path / "cann")}) == version
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "version.cfg", "version=1.2.3\n")
    assert read_cann_version({variable: ""}) == "unknown"  # and not the current folder's
    assert read_cann_version({}) == "unknown"


@pytest.mark.parametrize(
    ("version", "release"), [("8.5.0", (8, 5)), ("8.1.RC1", (8, 1)), ("9.1.0-beta.3", (9, 1)), ("unknown", None)]
)
def test_releases_are_compared_by_two_numbers(version, release):
    assert release_of(version) == release
