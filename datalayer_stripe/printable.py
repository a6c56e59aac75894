"""Replace characters that nobody sees, but that change how a text is shown."""

import unicodedata
from collections.abc import Callable

# Control characters; format characters, such as marks of the text direction and of no width; and
# separators of lines and paragraphs: https://www.unicode.org/reports/tr44/#General_Category_Values
_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp"})


def replace_unprintable(text: str, replacement: Callable[[str], str], *, keep: str = "") -> str:
    """Return a text in which control, format and line separator characters are replaced.

    Args:
        text: The text.
        replacement: Returns what replaces a character.
        keep: Characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        replacement(one) if unicodedata.category(one) in _CATEGORIES and one not in keep else one
        for one in text
    )
