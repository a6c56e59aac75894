"""Reading and writing environment files."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from datalayer_stripe.errors import StartError
from datalayer_stripe.provisioning import env_file
from datalayer_stripe.provisioning.env_file import EnvFile

TEXT = """\
# Stripe
A=1
  export B='two words'

# The database
C=mongodb://h/?a=1&b=2
A=last
not an assignment
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "service.env"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_values_are_read_without_quotes_and_the_last_one_counts(path: Path) -> None:
    file = EnvFile.read(path)
    assert dict(file) == {"A": "last", "B": "two words", "C": "mongodb://h/?a=1&b=2"}
    assert file.get("A") == "last"
    assert file.get("D") is None


def test_set_keeps_comments_order_and_other_lines(path: Path) -> None:
    file = EnvFile.read(path)
    file.set("B", "3")
    file.set("A", "new")
    file.set("D", "x y")
    file.write()
    assert path.read_text(encoding="utf-8") == (
        "# Stripe\n  export B=3\n\n# The database\nC=mongodb://h/?a=1&b=2\nA=new\n"
        "not an assignment\nD='x y'\n"
    )


def test_set_keeps_the_export_of_an_earlier_assignment(path: Path) -> None:
    path.write_text("export A=1\nB=2\nA=3\n", encoding="utf-8")
    file = EnvFile.read(path)
    file.set("A", "new")
    file.write()
    assert path.read_text(encoding="utf-8") == "B=2\nexport A=new\n"


def test_file_is_created_readable_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new.env"
    file = EnvFile.read(path)
    assert not file.exists
    file.add_comment("Made for a test.")
    file.set("A", "1")
    assert file.is_changed
    file.write()
    assert file.exists
    assert not file.is_changed
    assert path.read_text(encoding="utf-8") == "# Made for a test.\nA=1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["new.env"]


def test_open_mode_of_an_existing_file_is_closed(path: Path) -> None:
    path.chmod(0o644)
    file = EnvFile.read(path)
    file.set("A", "2")
    file.write()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_symbolic_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.env"
    link.symlink_to(path)
    file = EnvFile.read(link)
    file.set("A", "2")
    file.write()
    assert link.is_symlink()
    assert EnvFile.read(path).get("A") == "2"


def test_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(env_file.os, "fsync", fail)
    file = EnvFile.read(path)
    file.set("A", "2")
    with pytest.raises(StartError, match=r"cannot be written: No space left on device"):
        file.write()
    assert path.read_text(encoding="utf-8") == TEXT
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_change_by_another_program_is_not_overwritten(path: Path) -> None:
    file = EnvFile.read(path)
    file.set("A", "2")
    path.write_text(TEXT + "E=5\n", encoding="utf-8")
    with pytest.raises(StartError, match="changed by another program"):
        file.write()
    assert EnvFile.read(path).get("E") == "5"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1024 * 1024 + 1)])
def test_what_is_no_environment_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StartError, match=r"service\.env"):
        EnvFile.read(path)


def test_pipe_and_device_are_refused_and_stay(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.env"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(StartError, match=f"{path} is not a regular file"):
            EnvFile.read(path)
    assert pipe.is_fifo()


def test_pipe_in_place_of_a_new_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new.env"
    file = EnvFile.read(path)
    file.set("A", "1")
    os.mkfifo(path, 0o600)
    with pytest.raises(StartError, match="is not a regular file"):
        file.write()
    assert path.is_fifo()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_may_write_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(StartError, match=r"Other users may write .*chmod 600 /"):
        EnvFile.read(path)
    path.chmod(0o644)
    assert EnvFile.read(path).get("A") == "last"


# The next test checks the same without such a file, for people who are not root.
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_file_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 65534, 65534)
    with pytest.raises(StartError, match=r"service\.env belongs to another user"):
        EnvFile.read(path)


@pytest.mark.parametrize(("user", "is_accepted"), [(0, True), (1, True), (2, False)])
def test_file_of_root_or_of_the_caller_is_accepted(
    path: Path, monkeypatch: pytest.MonkeyPatch, user: int, is_accepted: bool
) -> None:
    monkeypatch.setattr(env_file.os, "geteuid", lambda: 1)
    found = path.stat()
    info = os.stat_result((*found[:4], user, *found[5:10]))
    monkeypatch.setattr(env_file.os, "fstat", lambda _: info)
    if is_accepted:
        assert EnvFile.read(path).get("A") == "last"
    else:
        with pytest.raises(StartError, match="belongs to another user"):
            EnvFile.read(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="Is a directory"):
        EnvFile.read(tmp_path)


VALUES = [
    "",
    "plain",
    "whsec_a+b/c=,whsec_d",
    "mongodb://user:pa$s@host/?replicaSet=rs0&w=majority",
    'with blanks and "double" quotes; $HOME `id` \\ !',
    "it's",
    "Grüße, #1",
]


@pytest.mark.parametrize("value", VALUES)
def test_shell_and_service_read_what_was_written(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.env"
    file = EnvFile.read(path)
    file.set("A", value)
    file.write()
    assert EnvFile.read(path).get("A") == value
    shown = subprocess.run(
        ["/bin/sh", "-c", f'set -a; . {path}; printf %s "$A"'],
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    assert shown.stdout.decode() == value


@pytest.mark.parametrize("value", ["two\nlines", "nul\0", "both ' and $"])
def test_value_that_readers_understand_differently_is_refused(tmp_path: Path, value: str) -> None:
    file = EnvFile.read(tmp_path / "a.env")
    with pytest.raises(StartError, match=r"^A: the value") as raised:
        file.set("A", value)
    assert value not in str(raised.value)
