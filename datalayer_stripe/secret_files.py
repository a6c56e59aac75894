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
        faults: The files that cannot be read.
    """

    values: Mapping[str, str]
    files: Mapping[str, Path]
    faults: Sequence[Fault]

    def located(self, faults: Sequence[Fault]) -> list[Fault]:
        """Return the faults, and name the file of each one whose value is from a file.

        Args:
            faults: Faults of settings. Those of a variable whose file cannot be read are left out.
        """
        unreadable = {fault.variable for fault in self.faults}
        return [self._located(fault) for fault in faults if fault.variable not in unreadable]

    def _located(self, fault: Fault) -> Fault:
        path = self.files.get(fault.variable)
        if path is None:
            return fault
        return Fault(fault.variable, f"{fault.problem}, in the file {path}", fault.remedy)


def with_secret_files(environ: Mapping[str, str], folder: Path | None) -> Environment:
    """Return the variables of the process, and the files of the others.

    Args:
        environ: The variables of the process.
        folder: The folder of the files, or None. If it does not exist, no file is read: the
            settings report it.
    """
    if folder is None or not folder.is_dir():
        return Environment(environ, {}, ())
    values, files, faults = dict(environ), {}, []
    for file in sorted(folder.iterdir()):
        name = file.name
        if not name.startswith(_PREFIXES) or unquoted(values.get(name, "")):
            continue
        try:
            values[name], files[name] = _text_of(file), file
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            faults.append(
                Fault(
                    name,
                    f"cannot be read from the file {file}: {reason}",
                    "Correct the file, or its permissions, or remove it.",
                )
            )
    return Environment(values, files, faults)


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
