"""Numbers as people read them. None is an en dash: there is nothing to say."""

from __future__ import annotations

NOTHING = "–"  # noqa: RUF001 a dash that is no minus
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def percent(fraction: float | None) -> str:
    """Return a fraction in percent with one decimal and no sign: 0.7134 is "71.3"."""
    return NOTHING if fraction is None else f"{round(100 * fraction, 1) + 0.0:.1f}"


def count(number: float | None) -> str:
    """Return a count in thousands (k), millions (M) or billions (G): 368661 is "369 k"."""
    return _scaled(number, ("", "k", "M", "G", "T"))


def size(n_bytes: float | None) -> str:
    """Return a size in bytes, kB, MB or GB, powers of 1000: 1234567 is "1.2 MB"."""
    return _scaled(n_bytes, ("B", "kB", "MB", "GB", "TB"))


def duration(seconds: float | None) -> str:
    """Return a time in seconds, minutes or hours: 96 is "1.6 min"."""
    if seconds is None:
        return NOTHING
    value, unit = float(seconds), "s"
    for larger in ("min", "h"):
        if value < 59.5:  # noqa: PLR2004 what rounds to 60 is one of the next unit
            break
        value, unit = value / 60, larger
    return f"{value:.{_decimals(value)}f} {unit}"


def number_word(number: int) -> str:
    """Return a small number as a word: 5 is "five", 20 is "20"."""
    return _WORDS[number] if 0 <= number < len(_WORDS) else str(number)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s: "1 thread", "2 threads"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _scaled(number: float | None, units: tuple[str, ...]) -> str:
    if number is None:
        return NOTHING
    value, unit = float(number), units[0]
    for larger in units[1:]:
        if abs(value) < 999.5:  # noqa: PLR2004 what rounds to 1000 is one of the next unit
            break
        value, unit = value / 1000, larger
    return f"{value:.{_decimals(value) if unit != units[0] else 0}f} {unit}".rstrip()


def _decimals(value: float) -> int:
    """Return how many decimals give two digits."""
    return 1 if abs(value) < 9.95 else 0  # noqa: PLR2004 what rounds to 10 has two
