"""Text for a terminal: names and values that come out of files cannot command it."""


def printable(text: str) -> str:
    """A text with its control characters written out, as ``\\x1b``: a terminal would obey them.

    Lines and tabs stay. Names in the files of somebody else could move the cursor, change the title of a window, or
    write other text than was printed.
    """
    return "".join(
        c if c in "\n\t" or not _commands(c) else c.encode("unicode_escape").decode() for c in text
    )


def _commands(character: str) -> bool:
    """Whether it is of the control characters C0, DEL and C1, or turns the direction of writing."""
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
