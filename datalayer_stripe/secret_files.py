"""Read secrets from files, as Docker and Kubernetes mount them: one file for each variable.

The name of a file is that of the variable, and its content is the value. A variable of the process
that is not blank is used instead of its file, as in pydantic-settings: so a command can be given
another value without a change of the mounted files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import Fault
from .settings_checks import unquoted

# Other files in the folder belong to other services.
_PREFIXES = ("DATALAYER_STRIPE_", "DATALAYER_JWT_", "DATALAYER_CORS_")

MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Environment:
    """The values of all variables, from the process and from files.

    Attributes:
        values: The value of each variable.
        files: The file of each variable whose value is from a file.
        hidden: The file of each variable of the process that has another value than this file,
            which is therefore not used.
        faults: The folder or the files that cannot be read.
    """

    values: Mapping[str, str]
    files: Mapping[str, Path]
    hidden: Mapping[str, Path]
    faults: Sequence[Fault]

    def located(self, faults: Sequence[Fault]) -> list[Fault]:
        """Return the faults, and name the file that a value is from, or that it hides.

        Args:
            faults: Faults of settings. Those of a variable whose file cannot be read are left out.
        """
        unreadable = {fault.variable for fault in self.faults}
        return [self._located(fault) for fault in faults if fault.variable not in unreadable]

    def _located(self, fault: Fault) -> Fault:
        name, problem = fault.variable, fault.problem
        if name in self.files:
            problem += f", in the file {self.files[name]}"
        elif name in self.hidden:
            problem += f", and hides the file {self.hidden[name]}: unset it to use the file"
        return Fault(name, problem, fault.remedy)


def with_secret_files(
    environ: Mapping[str, str], folder: Path | None, *, folder_variable: str
) -> Environment:
    """Return the variables of the process, and the files of the others.

    Args:
        environ: The variables of the process.
        folder: The folder of the files, or None. If it does not exist, no file is read: the
            settings report it.
        folder_variable: The variable that names the folder.
    """
    values: dict[str, str] = dict(environ)
    files: dict[str, Path] = {}
    hidden: dict[str, Path] = {}
    faults: list[Fault] = []
    for file in _files_in(folder, folder_variable, faults):
        name, own = file.name, unquoted(values.get(file.name, ""))
        try:
            text = _text_of(file)
        except (OSError, ValueError) as error:
            if not own:
                faults.append(_unreadable(file, error))
            continue
        if not own:
            values[name], files[name] = text, file
        elif own != unquoted(text):
            hidden[name] = file
    return Environment(values, files, hidden, faults)


def _files_in(folder: Path | None, variable: str, faults: list[Fault]) -> Sequence[Path]:
    """Return the files of a folder that are named after variables of this service.

    Args:
        folder: The folder, or None.
        variable: The variable that names it.
        faults: Gets a fault if the folder cannot be read.
    """
    if folder is None:
        return ()
    try:
        return sorted(file for file in folder.iterdir() if file.name.startswith(_PREFIXES))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        problem = f"is a folder that cannot be read, {folder}: {error.strerror}"
        remedy = "Let the user of the service list the folder and read its files, or unset it."
        faults.append(Fault(variable, problem, remedy))
        return ()


def _unreadable(file: Path, error: OSError | ValueError) -> Fault:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return Fault(
        file.name,
        f"cannot be read from the file {file}: {reason}",
        "Correct the file, or its permissions, or remove it.",
    )


def _text_of(file: Path) -> str:
    """Return the text of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too long, or no text. The message does not contain it.
    """
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is longer than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError("it is not text in UTF-8")
    return text
