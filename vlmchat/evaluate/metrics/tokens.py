"""The words of a caption, as coco-caption counts them.

coco-caption has Stanford CoreNLP 3.4.1 cut captions into the tokens of the Penn Treebank
(``PTBTokenizer -preserveLines -lowerCase``, a Java program) and leaves some punctuation out. These
are the rules of it that captions meet; they give the same on each of the 1 000 captions of
coco-caption's example results. Addresses, smileys, abbreviations other than the usual ones and
scripts without spaces may be cut differently there.
"""

import re

# What is left out, as the reference spells it. Its brackets never match, since the tokens are in
# lower case, and so brackets count as words there and here.
_LEFT_OUT = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SIGNS = {"“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "--", "…": "..."}
_CURRENCIES = {"€": "$", "£": "#"}
_TWO_WORDS = {
    **{"cannot": "can not", "gonna": "gon na", "wanna": "wan na", "gotta": "got ta"},
    **{"lemme": "lem me", "gimme": "gim me", "'tis": "'t is", "'twas": "'t was"},
}
_ABBREVIATIONS = (
    "mr mrs ms dr prof st jr sr vs etc co inc ltd corp ave blvd rd mt ft gen gov sen rep capt lt "
    "sgt col jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun"
)
_SHORT = "|".join(_ABBREVIATIONS.split())
_TOKEN = re.compile(
    rf"""
    https?://\S+
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                      # an address
    | no\.(?=\s*\d)
    | (?:{_SHORT}|ph\.d)\.(?!\w)
    | (?:[a-z]\.){{2,}}                                 # u.s., a.m., e.g.
    | rock(?='n')
    | '[nt]'(?=\s|roll|$)
    | '\d0s
    | '(?:tis|twas)\b
    | \.\d+
    | \w+(?:(?:[-/.,:](?=\d)(?<=\d[-/.,:])|[-/.](?=\w)|['’](?=\w))\w+)*
    | \.{{2,}} | --+ | [?!]+ | ``
    | \S
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?:(?<=\w)n't|'(?:s|m|d|re|ve|ll))\Z")
_WHOLE = re.compile(r"o'\w+|[a-z]+'n")


def words(caption: str) -> list[str]:
    """Return the words of a caption, in lower case, without punctuation."""
    found: list[str] = []
    opened = False
    text = caption.replace("\n", " ").lower()
    for match in _TOKEN.finditer(text):
        cut = match.group()
        if cut == '"':
            opened = not opened
            cut = "``" if opened else "''"
        found += _cut(cut)
    return [token for token in found if token not in _LEFT_OUT]


def _cut(token: str) -> list[str]:
    """Return a token as the Treebank has it: contractions are two."""
    token = token.replace("’", "'") if len(token) > 1 else token
    if token in _TWO_WORDS:
        return _TWO_WORDS[token].split()
    if len(token) == 1:
        return [(_BRACKETS | _SIGNS | _CURRENCIES).get(token, token)]
    if set(token) == {"."}:
        return ["..."]
    if set(token) == {"-"}:
        return ["--"]
    if "'" not in token[1:] or _WHOLE.fullmatch(token):
        return [token]
    if clitic := _CLITIC.search(token):
        return [token[: clitic.start()], clitic.group()]
    if token.startswith("y'"):
        return ["y'", token[2:]]
    return [token]
