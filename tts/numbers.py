"""Numbers as English words.

cardinal("1204")   # "one thousand two hundred four"
ordinal("21")      # "twenty first"
year("1905")       # "nineteen oh five"
"""

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion".split()
MOST_DIGITS = 3 * (len(SCALES) + 1)
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def cardinal(digits: str) -> str:
    """A whole number of any length; one that is too long for a name, or begins with a zero, digit by digit."""
    digits = digits.replace(",", "")
    if len(digits) > 1 and digits[0] == "0" or len(digits) > MOST_DIGITS:
        return spell(digits)
    n = int(digits)
    if n < 20:
        return ONES[n]
    if n < 100:
        return _with_rest(TENS[n // 10], n % 10)
    if n < 1000:
        return _with_rest(f"{ONES[n // 100]} hundred", n % 100)
    power = (len(str(n)) - 1) // 3
    return _with_rest(f"{cardinal(str(n // 1000**power))} {SCALES[power - 1]}", n % 1000**power)


def _with_rest(head: str, rest: int) -> str:
    return f"{head} {cardinal(str(rest))}" if rest else head


def ordinal(digits: str) -> str:
    """ "21" to "twenty first"."""
    *head, last = cardinal(digits).split()
    last = ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join((*head, last))


def spell(text: str) -> str:
    """Digit by digit and letter by letter, letters as capitals: "b2" to "B two"; other signs are passed over."""
    return " ".join(ONES[int(c)] if c.isdigit() else c.upper() for c in text if c.isascii() and c.isalnum())


def is_year(digits: str) -> bool:
    """Whether four digits are more likely a year than a count."""
    return len(digits) == 4 and digits.isdigit() and "1100" <= digits < "2100"


def year(digits: str) -> str:
    """ "1984" to "nineteen eighty four", "2005" to "two thousand five", "1900" to "nineteen hundred"."""
    century, rest = digits[:-2], digits[-2:]
    if len(digits) != 4 or century == "20" and rest < "10" or century == "00":
        return cardinal(digits)
    if rest == "00":
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} " + (f"oh {ONES[int(rest)]}" if rest < "10" else cardinal(rest))


def number(text: str) -> str:
    """ "-3.14" to "minus three point one four", "1,200" to "one thousand two hundred", "3.5.1" part by part."""
    sign = "minus " if text[0] in "-−" else ""
    whole, *parts = text.lstrip("-−").split(".")
    return sign + " point ".join((cardinal(whole or "0"), *(spell(part) for part in parts if part)))
