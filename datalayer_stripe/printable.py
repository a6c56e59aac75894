"""Replace invisible characters, which can change how the text around them is shown."""

import unicodedata
from collections.abc import Callable

# The general categories of Unicode for control characters, for format characters (such as
# zero-width spaces and marks of the text direction), and for separators of lines and of paragraphs:
# https://www.unicode.org/reports/tr44/#General_Category_Values
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp"})


def replace_unprintable(text: str, replacement: Callable[[str], str], *, keep: str = "") -> str:
    """Return a text with its invisible characters replaced. Ordinary spaces stay.

    Args:
        text: The text.
        replacement: Called with each invisible character. Returns the text to put in its place.
        keep: Invisible characters that are not replaced, such as line feeds.
    """
    if text.isprintable():
        return text

    def shown(character: str) -> str:
        is_invisible = unicodedata.category(character) in _INVISIBLE_CATEGORIES
        return replacement(character) if is_invisible and character not in keep else character

    return "".join(map(shown, text))
