"""Written English to the words that are said: numbers, dates, times, money, units, abbreviations, addresses, kings.

    normalise("Dr. Lee paid $5.50 on 3/4/2024.")
    # "Doctor Lee paid five dollars fifty on March fourth, twenty twenty four."

`RULES` holds a pattern for each thing that is written otherwise than it is said, and a function that says it; where two fit
at a place the earlier one counts. What is normalised already stays as it is.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from mien.tts.numbers import cardinal, is_year, number, ordinal, spell, year

PAUSES = ",;:—….?!"  # what may follow a word, from weak to strong

MONTHS = "January February March April May June July August September October November December".split()
MONTH = {name[:3]: name for name in MONTHS}
DAYS = {"Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
        "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday"}  # fmt: skip
MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", ""), "₹": ("rupee", "paisa"),
         "USD": ("dollar", "cent"), "GBP": ("pound", "penny"), "EUR": ("euro", "cent"), "CHF": ("Swiss franc", "rappen"),
         "JPY": ("yen", "")}  # fmt: skip
SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
PLURALS = {"penny": "pence", "paisa": "paise", "rappen": "rappen", "foot": "feet", "inch": "inches", "yen": "yen",
           "hertz": "hertz", "degree": "degrees", "degree Celsius": "degrees Celsius",
           "degree Fahrenheit": "degrees Fahrenheit"}  # fmt: skip
UNITS = {
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "μm": "micrometer", "nm": "nanometer", "m": "meter",
    "mi": "mile", "ft": "foot", "yd": "yard", "kg": "kilogram", "g": "gram", "mg": "milligram", "μg": "microgram",
    "lb": "pound", "lbs": "pound", "oz": "ounce", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter",
    "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "s": "second", "sec": "second",
    "secs": "second", "ms": "millisecond", "μs": "microsecond", "ns": "nanosecond", "Hz": "hertz", "kHz": "kilohertz",
    "MHz": "megahertz", "GHz": "gigahertz", "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte",
    "TB": "terabyte", "W": "watt", "kW": "kilowatt", "MW": "megawatt", "kWh": "kilowatt hour", "V": "volt",
    "mAh": "milliampere hour", "dB": "decibel", "px": "pixel", "°": "degree", "°C": "degree Celsius",
    "°F": "degree Fahrenheit", "mph": "mile per hour", "kph": "kilometer per hour", "km/h": "kilometer per hour",
    "m/s": "meter per second", "fps": "frame per second", "Mbps": "megabit per second", "kbps": "kilobit per second",
    "Gbps": "gigabit per second", "Mbit/s": "megabit per second", "kbit/s": "kilobit per second",
    "rpm": "revolution per minute", "m^2": "square meter", "km^2": "square kilometer", "cm^2": "square centimeter",
    "m^3": "cubic meter", "sqm": "square meter", "sq ft": "square foot", "ha": "hectare", "kcal": "kilocalorie",
}  # fmt: skip
TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Rev": "Reverend", "Hon": "Honorable",
    "Gen": "General", "Col": "Colonel", "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Gov": "Governor",
    "Sen": "Senator", "Pres": "President", "Mt": "Mount", "Ft": "Fort", "Jr": "Junior", "Sr": "Senior",
}  # fmt: skip
SHORT = {
    "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department", "inc": "incorporated",
    "ltd": "limited", "corp": "corporation", "bros": "brothers", "ave": "avenue", "blvd": "boulevard", "rd": "road",
    "hwy": "highway", "avg": "average", "tel": "telephone", "bldg": "building", "univ": "university",
    "govt": "government", "misc": "miscellaneous", "incl": "including", "excl": "excluding", "tbsp": "tablespoon",
    "tsp": "teaspoon",
}  # fmt: skip
BEFORE_NUMBER = {"no": "number", "nos": "numbers", "nr": "number", "p": "page", "pp": "pages", "vol": "volume",
                 "fig": "figure", "figs": "figures", "ch": "chapter", "eq": "equation", "sec": "section", "ca": "circa",
                 "ext": "extension", "apt": "apartment", "min": "minimum", "max": "maximum"}  # fmt: skip
LETTERWISE = {"e.g.": "for example", "i.e.": "that is", "a.m.": "A M", "p.m.": "P M", "a.k.a.": "also known as",
              "ph.d.": "P H D", "w/o": "without", "w/": "with", "b/c": "because", "n/a": "not applicable"}  # fmt: skip
# Capitals of four letters and more are said as a word if they have a vowel; shorter ones only if they are one of these.
SAID = frozenset(
    "a i am an and are as at be but by can did do for get go god had has have he her hey him his how if in is it its just "
    "let lol man me my new no not now of off oh ok old on one or our out own put say see she sir so stop the too to try two "
    "up use was way we who why will win wow yes yet you ram rom pin sim gif yay aha fun mad sad bad big ow ew ugh hmm shh "
    "red hot top set run eat ask bye mom dad boy girl day end far few fly got guy hit job key lot may met mr mrs".split()
)
SPELT = frozenset("asap faq faqs hiv isbn iban aarp ieee iata usda".split())
ACRONYMS = frozenset(
    "nasa nato unesco unicef opec aids covid ikea lego fifa uefa imax nafta osha radar laser sonar scuba swat yolo pin sim "
    "ram rom gif jpeg usaid captcha ok lol".split()
)  # whose capitals are not meant to be loud
NUMBERED_NAMES = frozenset(
    "henry louis elizabeth charles george edward james william richard john paul pius benedict philip frederick catherine "
    "peter alexander napoleon leo gregory francis ferdinand otto ivan nicholas mary victoria ramesses ptolemy darius xerxes "
    "innocent clement urban boniface julius sixtus alfonso carlos juan felipe umberto harald haakon olav christian gustav "
    "margrethe wilhelm leopold albert baldwin robert david mehmed murad selim suleiman rainier constantine theodosius "
    "justinian basil".split()
)
PARTS = frozenset("war part chapter act volume book phase type class section article title level stage".split())
AFTER_ONE = r"(?:was|is|of|and|began|ended|ruled|became|died|in|to)\b"  # what tells "Elizabeth I" from "Elizabeth, I"
GREEK = {
    unicodedata.lookup(f"GREEK {size} LETTER {name}"): name.lower().replace("lamda", "lambda")
    for size in ("SMALL", "CAPITAL")
    for name in (
        "ALPHA BETA GAMMA DELTA EPSILON ZETA ETA THETA IOTA KAPPA LAMDA MU NU XI OMICRON PI RHO SIGMA TAU UPSILON PHI CHI "
        "PSI OMEGA"
    ).split()
}
SIGNS = {"&": "and", "@": "at", "%": "percent", "‰": "per mille", "+": "plus", "=": "equals", "<": "less than",
         ">": "greater than", "#": "number", "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "approximately",
         "°": "degrees", "§": "section", "/": "slash", "^": "to the power of", "≤": "at most", "≥": "at least",
         "≠": "is not", "√": "the root of", "∞": "infinity", "$": "dollars", "€": "euros", "£": "pounds",
         "−": "minus"}  # fmt: skip
ADDRESS_SIGNS = {".": "dot", "@": "at", ":": "colon", "-": "dash", "?": "question mark", "#": "hash", "_": "underscore"}
# Letters and signs that Unicode does not take apart itself.
FOLDED = {
    "’": "'", "‘": "'", "ʼ": "'", "´": "'", "`": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "–", "—": "—",
    "‑": "-", "‐": "-", "…": "…", "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l",
    "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "ŋ": "ng", "²": "^2",
    "³": "^3", "¹": "", "™": "", "®": "", "©": "", "\u00ad": "", "℃": "°C", "℉": "°F", "№": "No. ", "µ": "μ",
}  # fmt: skip
Match = re.Match[str]


@dataclass(frozen=True)
class Said:
    """A word as it is said, what follows it (a sign of `PAUSES`, or none), and where in the text it is written."""

    text: str
    pause: str
    start: int
    end: int


def normalise(text: str) -> str:
    """A text as it is said, words and punctuation alone; raises ValueError for letters of a script that is not ours."""
    return " ".join(word.text + word.pause for word in spoken(text))


def spoken(text: str) -> list[Said]:
    """The words of a text in order; raises ValueError for letters of a script that is not ours."""
    plain, where = fold(text)
    found: list[Said] = []
    any_rule, each = _patterns()
    for found_at in any_rule.finditer(plain):
        assert found_at.lastindex is not None
        match = each[found_at.lastindex - 1].match(plain, found_at.start())
        assert match is not None
        start, end = where[match.start()], where[match.end() - 1] + 1
        said = RULES[found_at.lastindex - 1][1](match)
        for token in re.findall(rf"[A-Za-z']+|[{PAUSES}]", said):
            if token not in PAUSES:
                found.append(Said(token, "", start, end))
            elif found:
                last = found[-1]
                found[-1] = Said(last.text, stronger(last.pause, token), last.start, last.end)
    return found


def stronger(one: str, other: str) -> str:
    """The stronger of two signs that follow a word; "" is none."""
    return max(one, other, key=("", *PAUSES).index)


def fold(text: str) -> tuple[str, list[int]]:
    """The text in letters without accents and plain signs, and for each of its characters where it came from."""
    plain, where = [], []
    for position, sign in enumerate(text):
        for letter in sign if sign.isascii() else _folded(sign):
            plain.append(letter)
            where.append(position)
    return "".join(plain), where


@cache
def _folded(sign: str) -> str:
    if sign in FOLDED or sign in GREEK or sign in SIGNS or sign in MONEY:
        return FOLDED.get(sign, sign)
    parts = unicodedata.normalize("NFKD", sign).replace("⁄", "/")
    if sign.isnumeric() and "/" in parts:
        return f" {parts}"  # "3½"
    plain = "".join(FOLDED.get(part, part) for part in parts if part.isascii() or part in FOLDED or part in GREEK)
    if sign.isalpha() and not plain and not (name := unicodedata.name(sign, "")).startswith(("LATIN", "MODIFIER")):
        script = name.split()[0].capitalize().replace("Cjk", "Chinese or Japanese") if name else "unknown"
        raise ValueError(
            f"'{sign}' belongs to a script that cannot be read yet ({script}): write the text in Latin letters."
        )
    return plain or (" " if sign.isspace() or sign.isnumeric() else "")


# ---- what is written: each function says a match ----


def _plural(noun: str) -> str:
    first, *rest = noun.split(" per ")
    return " per ".join((PLURALS.get(first) or first.replace("foot", "feet").removesuffix("s") + "s", *rest))


def _counted(amount: str, noun: str) -> str:
    return f"{number(amount)} {noun if amount.lstrip('-−') == '1' else _plural(noun)}"


def _stop(m: Match, before: str = r"\s*$") -> str:
    """The full stop of an abbreviation, if it ends the sentence too: where the text ends, or `before` follows."""
    return "." if m[0].endswith(".") and re.match(before, m.string[m.end() :]) else ""


def _address(m: Match) -> str:
    text = re.sub(r"^(?:https?://|ftp://|mailto:)?(?:www\.)?", "", m[0], flags=re.I)
    parts = re.findall(r"[A-Za-z]+|\d+|[^\w\s]|_", text.rstrip("/"))
    return " ".join(ADDRESS_SIGNS.get(p) or SIGNS.get(p) or (cardinal(p) if p.isdigit() else _name(p)) for p in parts)


def _can_be_said(letters: str) -> bool:
    """Whether letters are a word: with a vowel, and if they are capitals, long enough or one that is known."""
    low = letters.lower()
    if letters.isupper():
        return low in SAID or len(low) > 3 and bool(re.search("[aeiouy]", low)) and low not in SPELT or len(low) > 6
    return len(low) > 1 and bool(re.search("[aeiouy]", low))


def _name(text: str) -> str:
    """Letters that stand in a name or an address: as a word if they can be one, otherwise one by one."""
    return text if _can_be_said(text) else spell(text)


def _tag(m: Match) -> str:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", m["name"])
    return " ".join(("hashtag" if m[0][0] == "#" else "at", *(cardinal(w) if w.isdigit() else _name(w) for w in words)))


def _date(m: Match) -> str:
    """A date of numbers, month first unless only the second can be one."""
    month, day = int(m["month"]), int(m["day"])
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return spell(m[0])
    full = m["year"] if len(m["year"]) == 4 else ("19" if m["year"] > "50" else "20") + m["year"]
    return f"{MONTHS[month - 1]} {ordinal(str(day))}, {year(full)}"


def _month_day(m: Match) -> str:
    date = f"{MONTH[m['month'][:3]]} {ordinal(m['day'])}"
    return f"{date}, {year(m['year'])}" if m["year"] else date


def _day_month(m: Match) -> str:
    date = f"{m['the'] or 'the '}{ordinal(m['day'])} of {MONTH[m['month'][:3]]}"
    return f"{date} {year(m['year'])}" if m["year"] else date


def _time(m: Match) -> str:
    minute, second = (m.groupdict().get(name) for name in ("minute", "second"))
    words = [cardinal(str(int(m["hour"])))]
    if minute and (minute != "00" or second):
        words.append(f"oh {cardinal(minute[1])}" if minute[0] == "0" else cardinal(minute))
    if second:
        words.append("and " + _counted(str(int(second)), "second"))
    if m["half"]:
        words.append(spell(m["half"]))
    elif len(words) == 1:
        words.append("o'clock" if 0 < int(m["hour"]) < 13 else "hundred")
    return " ".join(words) + _stop(m, r"\s*$|\s+[A-Z]")


def _money(m: Match) -> str:
    main, small = MONEY[m.groupdict().get("before") or m.groupdict()["behind"]]
    amount, minus = m["amount"].replace(",", ""), "minus " if m["minus"] else ""
    if m["scale"]:
        return f"{minus}{number(amount)} {SCALES.get(m['scale'].lower(), m['scale'])} {_plural(main)}"
    whole, _, cents = amount.partition(".")
    if not cents.strip("0"):
        return minus + _counted(whole, main)
    if len(cents) != 2 or not small:
        return f"{minus}{number(amount)} {_plural(main)}"
    if not int(whole):
        return minus + _counted(str(int(cents)), small)
    return f"{minus}{_counted(whole, main)} {cardinal(str(int(cents)))}"


def _phone(m: Match) -> str:
    plus = "plus " if m[0].startswith("+") else ""
    return plus + ", ".join(spell(group) for group in re.findall(r"\d+", m[0]))


def _fraction(m: Match) -> str:
    over, under = m["over"], m["under"]
    if int(over) >= int(under) or not (2 <= int(under) <= 10 or int(under) in (12, 16, 32, 64, 100)):
        return f"{cardinal(over)} {cardinal(under)}"  # 24/7, 9/11
    one, many = {"2": ("half", "halves"), "4": ("quarter", "quarters")}.get(under, (ordinal(under), ordinal(under) + "s"))
    if m["whole"]:
        return f"{cardinal(m['whole'])} and {'a' if over == '1' else cardinal(over)} {one if over == '1' else many}"
    return f"{cardinal(over)} {one if over == '1' else many}"


def _range(m: Match) -> str:
    low, high = m["low"], m["high"]
    said = f"{year(low)} to {year(high)}" if is_year(low) and is_year(high) else f"{number(low)} to {number(high)}"
    return f"{said} {_plural(UNITS[m['unit']])}" if m["unit"] else said


def _unit(m: Match) -> str:
    amount, noun = m["amount"].replace(",", ""), UNITS[m["unit"]]
    return f"{number(amount)} {noun}" if m["hyphen"] else _counted(amount, noun)


def _size(m: Match) -> str:
    return " by ".join(number(part.strip()) for part in re.split("[x×]", m[0]))


def _decade(m: Match) -> str:
    digits = m[0].strip("'s")
    century = f"{cardinal(digits[:2])} " if len(digits) == 4 else ""
    if digits[-2:] == "00":
        return "two thousands" if digits == "2000" else f"{century}hundreds"
    return century + cardinal(digits[-2:])[:-1] + "ies" if digits[-2:] != "10" else f"{century}tens"


def _number(m: Match) -> str:
    return year(m[0]) if is_year(m[0]) else number(m[0].replace(",", ""))


def _mixed(m: Match) -> str:
    """Letters and digits in one: "MP3", "COVID-19", "4K", "v2.0"."""
    said = []
    for part in re.findall(r"[A-Za-z]+|\d+|\.", m[0]):
        if part == ".":
            said.append("point")
        elif part.isdigit():
            said.append(year(part) if is_year(part) else cardinal(part))
        else:
            said.append(_name(part))
    return " ".join(said)


def _doctor_or_drive(m: Match) -> str:
    """ "Dr." and "St." stand before a name, or behind the name of a street."""
    before_name = bool(re.match(r"\s+[A-Z]", m.string[m.end() :]))
    words = ("Doctor", "Drive") if m[0][0] == "D" else ("Saint", "Street")
    return words[0] if before_name else words[1] + _stop(m)


def _initial(m: Match) -> str:
    """A letter with a full stop: of a name at its beginning or behind a name, otherwise a sentence ends with it."""
    of_name = re.search(r"(?:^|[.!?,;:]\s+|[A-Z][a-z]+\s|[A-Z]\.\s?)$", m.string[: m.start()])
    return m[0][0] if of_name else m[0]


def _roman(m: Match) -> str:
    values = [{"I": 1, "V": 5, "X": 10}[c] for c in m["roman"]]
    value = str(sum(-v if v < max(values[i:]) else v for i, v in enumerate(values)))
    said = f"the {ordinal(value)}" if m["name"].lower() in NUMBERED_NAMES else cardinal(value)
    return f"{m['name']} {said}{m['of'] or ''}"


def _capitals(m: Match) -> str:
    """A word in capitals: spelt unless it can be said, or the whole text is in capitals."""
    letters = m["letters"]
    ampersand = "&" in (m.string[max(m.start() - 1, 0) : m.start()], m.string[m.end() : m.end() + 1])  # AT&T
    shouted = re.fullmatch(r"[A-Z' ]{2}[A-Z',;!?… ]{6,}", m.string) and re.search("[AEIOUY]", letters[1:] + letters[:-1])
    if not ampersand and (_can_be_said(letters) or shouted):
        return m[0]
    return spell(letters) + ("'s" if m["plural"] else "")


def _as_it_is(m: Match) -> str:
    return m[0]


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


AMOUNT = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
MONTH_NAMES = "|".join([*MONTHS, *(rf"{short}\b\.?" for short in MONTH if short != "May"), r"Sept\b\.?"])
UNIT = rf"(?P<unit>{_any(UNITS)})(?![A-Za-z0-9/^])(?:\.(?=\s[a-z]))?"
SCALE = r"(?:\s?(?P<scale>thousand|million|billion|trillion|[kKmMbB]|[bm]n|tn)(?![A-Za-z]))?"
TLD = "com|org|net|edu|gov|io|ai|co|uk|de|fr|es|it|eu|dev|app|info|me|tv"

RULES: list[tuple[str, Callable[[Match], str]]] = [
    (r"(?<!\w)(?:[:;=8]['^-]?[)(\]\[DPpOoSs|*3]+|<3+|[xX]D+)(?!\w)", lambda m: ""),  # faces are felt, not said
    (r"(?:https?://|ftp://|www\.|mailto:)[^\s<>\"]*[^\s<>\".,;:!?)\]}']", _address),
    (r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    (rf"(?<![\w@.-])(?:[A-Za-z0-9-]+\.)+(?:{TLD})(?:/[\w./-]*\w)?(?!\w)", _address),
    (r"(?<![\w&])[#@](?P<name>[A-Za-z]\w*)", _tag),
    (r"(?<![\w-])(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?![\w-])", _date),
    (r"(?<![\w/.])(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})(?![\w/])", _date),
    (rf"\b(?P<month>{MONTH_NAMES}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>[12]\d{{3}}))?(?![\w:]|[,.]\d)",
     _month_day),
    (rf"(?P<the>\b[Tt]he )?(?<![\w:.])(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month>{MONTH_NAMES})"
     r"(?:,? (?P<year>[12]\d{3}))?(?!\w)", _day_month),
    (r"(?<![\w:])(?P<hour>2[0-4]|[01]?\d):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?:\s?(?P<half>[aApP]\.?[mM]\b\.?))?(?![\w:])",
     _time),
    (r"(?<![\w.])(?P<hour>1[0-2]|\d)\s?(?P<half>[aApP]\.?[mM]\b\.?)", _time),
    (rf"(?P<minus>[-−](?=[$£€¥₹]))?(?:US)?(?P<before>[$£€¥₹]|\b(?:USD|EUR|GBP|CHF|JPY)\b)\s?(?P<amount>{AMOUNT}){SCALE}",
     _money),
    (rf"(?<![\w.])(?P<minus>[-−])?(?P<amount>{AMOUNT}){SCALE}\s?(?P<behind>[$£€¥₹]|(?:USD|EUR|GBP|CHF|JPY)\b)",
     _money),
    (r"(?<![\w.])(?:\+\d{1,3}[ -]?)?(?:\(\d{2,4}\) ?|\d{2,4}[ -])\d{3,4}[ -]\d{3,4}(?![\w-])"
     r"|(?<![\w.-])\d{3}-\d{4}(?![\w-])|(?<!\w)\+\d{1,3}(?: \d{2,4}){2,5}(?!\w)", _phone),
    (r"(?<![\w./])(?:(?P<whole>\d+)\s)?(?P<over>\d{1,3})/(?P<under>\d{1,3})(?![\w/])", _fraction),
    (r"(?<![\w.])(?:[12]\d\d0'?s|'[2-9]0s)(?!\w)", _decade),
    (r"(?<=[a-z][a-z] )(?<!for )(?<!in )(?<!at )[2-9]0s(?!\w)", _decade),  # "her 30s", but "for 30s"
    (rf"(?<![\w.])(?P<amount>[-−]?{AMOUNT})(?:\s|(?P<hyphen>-))?{UNIT}", _unit),
    (r"(?<![\w.])\d+(?:\.\d+)?(?:\s?[x×]\s?\d+(?:\.\d+)?)+(?!\w)", _size),
    (r"(?<![\w.])(?P<amount>\d+(?:\.\d+)?)x(?!\w)", lambda m: f"{number(m['amount'])} times"),
    (r"(?<![\w.])(?P<place>\d[\d,]*)(?:st|nd|rd|th)(?!\w)", lambda m: ordinal(m["place"].replace(",", ""))),
    (rf"(?<![\w.-])(?P<low>{AMOUNT})\s?[-–]\s?(?P<high>{AMOUNT})(?![\w-])(?:\s?{UNIT})?", _range),
    (r"(?<=[\dmM])\s?[-–]\s?(?=\d)", lambda m: "to"),  # what is left of ranges: 10:30-11:15, 3pm-5pm
    (r"(?<![\w.])(?P<amount>\d+(?:\.\d+)?)(?P<scale>[MB]|bn|mn|(?<=\d\d)[kK])(?!\w)",
     lambda m: f"{number(m['amount'])} {SCALES[m['scale'].lower()]}"),
    (r"(?<![\w.])(?:[A-Za-z]+-?\d+(?:\.\d+)*[A-Za-z\d]*|\d+(?:\.\d+)*[A-Za-z]+[A-Za-z\d]*)(?!\w)", _mixed),
    (rf"(?<![\w.-])[-−]?(?:{AMOUNT}(?:\.\d+)*|\.\d+)(?!\w)", _number),
    (r"[0-9]+", lambda m: cardinal(m[0])),
    (rf"(?<!\w)(?P<short>(?i:{_any(BEFORE_NUMBER)}))\.\s?(?=\d)", lambda m: BEFORE_NUMBER[m["short"].lower()]),
    (r"(?<!\w)(?:Dr|St)\.", _doctor_or_drive),
    (r"(?<!\w)Dr(?=\s[A-Z])", lambda m: "Doctor"),
    (rf"(?<!\w)(?P<short>{_any(TITLES)})(?:\.(?!\w)|(?=\s[A-Z][a-z]))", lambda m: TITLES[m["short"]] + _stop(m)),
    (rf"(?<!\w)(?i:{_any(LETTERWISE)})(?!\w)",
     lambda m: LETTERWISE[m[0].lower()] + _stop(m, r"\s*$|\s+[A-Z]" if m[0][-2] in "mM" else r"\s*$")),
    (rf"(?<!\w)(?P<short>(?i:{_any(SHORT)}))\.(?!\w)",
     lambda m: SHORT[m["short"].lower()] + _stop(m, r"\s*$|\s+[A-Z]" if m["short"] == "etc" else r"\s*$")),
    (rf"(?<!\w)(?P<short>{_any(DAYS)}|{_any(s for s in MONTH if s != 'May')})\.(?!\w)",
     lambda m: (DAYS.get(m["short"]) or MONTH[m["short"]]) + _stop(m, rf"\s*$|\s+(?!{MONTH_NAMES})[A-Z]")),
    (r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)", lambda m: spell(m[0]) + _stop(m)),
    (r"(?<![\w.])[A-Z]\.(?=\s?[A-Z])", _initial),
    (r"\b(?P<name>[A-Z][a-z]+) (?P<roman>(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3}))(?P<of>'s)?(?!\w)", _roman),
    (rf"\b(?P<name>(?:{_any(map(str.capitalize, NUMBERED_NAMES | PARTS))})) "
     rf"(?P<roman>[VX]|I(?=\s+{AFTER_ONE}|[,.;:!?')]|$))(?P<of>'s)?(?!\w)", _roman),
    (r"(?<![\w'])(?P<letters>[A-Z]{2,})(?P<plural>'?s)?(?![\w'])", _capitals),
    (r"[A-Za-z]+(?:'[A-Za-z]+)*(?:(?<=s)'|(?<=in)'(?=\s))?", _as_it_is),
    (r"\.{2,}|…", lambda m: "…"),
    (r"(?<=\s)[-–](?=\s)|—|--+|(?<=[A-Za-z])–(?=[A-Za-z])", lambda m: "—"),
    (r"[()\[\]{}]", lambda m: ","),
    (r"\n\s*\n", lambda m: "."),
    (r"[.,;:!?]", _as_it_is),
    (_any(GREEK), lambda m: GREEK[m[0]]),
    (_any(SIGNS), lambda m: SIGNS[m[0]]),
]  # fmt: skip


@cache
def _patterns() -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
    """All rules as one pattern whose groups are the rules, and each with its own groups."""
    bare = [re.sub(r"\(\?P<\w+>", "(?:", pattern) for pattern, _ in RULES]
    return re.compile("|".join(f"({pattern})" for pattern in bare)), [re.compile(pattern) for pattern, _ in RULES]
