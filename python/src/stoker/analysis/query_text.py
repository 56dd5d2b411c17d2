"""The small language of `stoker runs query`: its text as a tree. docs/runs.md has the grammar."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from stoker.analysis.errors import AnalysisError

# Longer or deeper than anybody writes by hand.
LONGEST, _DEEPEST = 2000, 50
FIGURES = ("final", "best", "min", "max", "mean", "count", "nan")
TEXTS = ("id", "name", "project", "group", "job_type", "notes", "host", "commit", "kind", "state")
NUMBERS = ("exit_code", "started_at", "updated_at", "bytes")
_PREFIX = "config."
_ORDERS = ("<=", ">=", "!=", "==", "<", ">", "=", "~")
_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w./:@])%?)
    |(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<quoted>`[^`]+`)
    |(?P<word>[^\W\d][\w./:@-]*)
    |(?P<sign><=|>=|!=|==|[<>=~(),])""",
    re.VERBOSE,
)


class QueryError(AnalysisError):
    """A query that is not understood, with the place in it (`at`, from 1)."""

    def __init__(self, at: int, what: str, *, next_step: str | None = None) -> None:
        super().__init__(f"the query is not understood at character {at}: {what}", next_step=next_step)
        self.at = at


@dataclass(frozen=True)
class Value:
    """A number, text, or truth that was written down."""

    value: float | str | bool


@dataclass(frozen=True)
class Name:
    """What a run has: `kind` is `field`, `config` or one of FIGURES, `name` the field, setting or metric."""

    kind: str
    name: str
    at: int

    @property
    def shown(self) -> str:
        """As a query spells it."""
        if self.kind == "config":
            return _PREFIX + self.name
        return self.name if self.kind in ("field", "final") else f"{self.kind}({self.name})"


Operand = Value | Name


@dataclass(frozen=True)
class Compare:
    """`sign` is one of < <= > >= = != and ~ (has the text in it, in any case)."""

    sign: str
    left: Operand
    right: Operand
    at: int


@dataclass(frozen=True)
class Tagged:
    """Has exactly this tag."""

    tag: str


@dataclass(frozen=True)
class Known:
    """Whether there is a value at all."""

    operand: Name


@dataclass(frozen=True)
class Not:
    """The opposite; of what is unknown, unknown."""

    inner: Condition


@dataclass(frozen=True)
class Both:
    """All parts (`word` is AND) or one of them (OR)."""

    word: str
    parts: tuple[Condition, ...]


Condition = Compare | Tagged | Known | Not | Both


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(query: str) -> Condition:
    """The tree of a query. Raises QueryError with the place where it is not one."""
    if len(query) > LONGEST:
        raise QueryError(LONGEST + 1, f"a query has {LONGEST} characters at most")
    return _Parser(_tokens(query)).whole()


def names(condition: Condition) -> list[Name]:
    """What of the runs a query asks for, each once, in its order."""
    found: dict[tuple[str, str], Name] = {}

    def add(operand: Operand) -> None:
        if isinstance(operand, Name):
            found.setdefault((operand.kind, operand.name), operand)

    def walk(part: Condition) -> None:
        if isinstance(part, Compare):
            add(part.left)
            add(part.right)
        elif isinstance(part, Known):
            add(part.operand)
        elif isinstance(part, Not):
            walk(part.inner)
        elif isinstance(part, Both):
            for inner in part.parts:
                walk(inner)

    walk(condition)
    return list(found.values())


def _tokens(query: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            said = "a text without its end" if query[at] in "'\"`" else f"{query[at]!r} has no meaning here"
            raise QueryError(at + 1, said)
        if match.lastgroup != "blank":
            tokens.append(_Token(str(match.lastgroup), match[0], at + 1))
        at = match.end()
    return [*tokens, _Token("end", "", len(query) + 1)]


class _Parser:
    """Recursive descent: a method for each rule of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._either()
        if self._peek().kind != "end":
            raise self._unexpected("and, or, or the end")
        return condition

    def _either(self) -> Condition:
        return self._joined("or", lambda: self._joined("and", self._one))

    def _joined(self, word: str, inner: Callable[[], Condition]) -> Condition:
        parts = [inner()]
        while self._take_word(word):
            parts.append(inner())
        return parts[0] if len(parts) == 1 else Both(word.upper(), tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError(self._peek().at, f"more than {_DEEPEST} brackets and nots within each other")
        if self._take_word("not"):
            condition: Condition = Not(self._one())
        elif self._take_sign("("):
            condition = self._either()
            self._need_sign(")")
        else:
            condition = self._condition()
        self._depth -= 1
        return condition

    def _condition(self) -> Condition:
        at = self._peek().at
        if self._peek().text.lower() in ("tags", "tag") and self._after().text.lower() == "has":
            self._next += 2
            return Tagged(self._text())
        left = self._operand()
        if self._take_word("is"):
            denied = self._take_word("not")
            word = self._advance()
            if word.text.lower() not in ("known", "unknown"):
                raise self._wrong(word, "known or unknown")
            known = Known(self._a_name(left, at))
            return Not(known) if denied != (word.text.lower() == "unknown") else known
        denied = self._peek().text.lower() == "not" and self._after().text.lower() == "in"
        self._next += denied
        if self._take_word("in"):
            within = self._list(left, at)
            return Not(within) if denied else within
        sign = self._advance()
        if sign.text not in _ORDERS:
            raise self._wrong(sign, "a comparison: < <= > >= = != ~ in, is known, has")
        comparison = self._compared("=" if sign.text == "==" else sign.text, left, self._right(left), at)
        if self._peek().text in _ORDERS:
            raise QueryError(self._peek().at, "a second comparison in a row", next_step="join two of them with and")
        return comparison

    def _list(self, left: Operand, at: int) -> Condition:
        self._need_sign("(")
        parts = [self._compared("=", left, self._right(left), at)]
        while self._take_sign(","):
            parts.append(self._compared("=", left, self._right(left), at))
        self._need_sign(")")
        return parts[0] if len(parts) == 1 else Both("OR", tuple(parts))

    def _compared(self, sign: str, left: Operand, right: Operand, at: int) -> Compare:
        if isinstance(left, Value) and isinstance(right, Value):
            raise QueryError(at, "two values are compared, and nothing of a run")
        kinds = {kind for kind in (kind_of(left), kind_of(right)) if kind != "any"}
        if len(kinds) > 1:
            raise QueryError(at, f"a {kind_of(left)} is compared with a {kind_of(right)}")
        if sign == "~" and kinds != {"text"}:
            raise QueryError(at, "~ looks for a text in a text", next_step="name ~ 'wide'")
        if sign not in ("=", "!=") and "truth" in kinds:
            raise QueryError(at, "true and false have no order", next_step="= or !=")
        return Compare(sign, left, right, at)

    def _right(self, left: Operand) -> Operand:
        """A bare word beside a field of text is that text: `state = finished`."""
        token = self._peek()
        if token.kind == "word" and isinstance(left, Name) and left.kind == "field" and left.name in TEXTS:
            bare = self._after().text != "(" and not token.text.startswith(_PREFIX) and token.text not in TEXTS
            if bare:
                self._next += 1
                return Value(token.text)
        return self._operand()

    def _operand(self) -> Operand:
        token = self._advance()
        if token.kind == "number":
            return Value(_number(token))
        if token.kind == "text":
            return Value(_unquoted(token.text))
        if token.kind == "quoted":
            return Name("final", token.text[1:-1], token.at)
        if token.kind != "word":
            raise self._wrong(token, "a metric, a setting (config.NAME), a field or a value")
        if token.text.lower() in ("true", "false"):
            return Value(token.text.lower() == "true")
        if self._peek().text == "(":
            return self._figure(token)
        if token.text in TEXTS or token.text in NUMBERS:
            return Name("field", token.text, token.at)
        if token.text == "config" or token.text == _PREFIX:
            raise self._wrong(token, "a setting: config.lr")
        if token.text.startswith(_PREFIX):
            return Name("config", token.text[len(_PREFIX) :], token.at)
        if token.text in ("tags", "tag"):
            raise QueryError(token.at, "tags are asked for with has", next_step="tags has 'baseline'")
        if token.text.lower() in ("and", "or", "not", "in", "is", "has"):
            raise self._wrong(token, "a metric, a setting (config.NAME), a field or a value")
        return Name("final", token.text, token.at)

    def _figure(self, function: _Token) -> Name:
        """`best(val/acc)`; `config(NAME)` is for names that are no words."""
        if function.text not in (*FIGURES, "config"):
            raise self._wrong(function, f"one of {', '.join(FIGURES)} before a bracket")
        self._need_sign("(")
        token = self._advance()
        if token.kind not in ("word", "quoted"):
            raise self._wrong(token, "the name of a metric")
        self._need_sign(")")
        return Name(function.text, token.text.strip("`"), token.at)

    def _text(self) -> str:
        token = self._advance()
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind != "word":
            raise self._wrong(token, "a text")
        return token.text

    def _a_name(self, operand: Operand, at: int) -> Name:
        if isinstance(operand, Value):
            raise QueryError(at, "a value is always known")
        return operand

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _after(self) -> _Token:
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def _advance(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _take_word(self, word: str) -> bool:
        taken = self._peek().kind == "word" and self._peek().text.lower() == word
        self._next += taken
        return taken

    def _take_sign(self, sign: str) -> bool:
        taken = self._peek().kind == "sign" and self._peek().text == sign
        self._next += taken
        return taken

    def _need_sign(self, sign: str) -> None:
        if not self._take_sign(sign):
            raise self._unexpected(f"'{sign}'")

    def _unexpected(self, wanted: str) -> QueryError:
        return self._wrong(self._peek(), wanted)

    def _wrong(self, token: _Token, wanted: str) -> QueryError:
        got = "it ends" if token.kind == "end" else f"there is {token.text[:40]!r}"
        return QueryError(token.at, f"{got}, and {wanted} was expected")


def kind_of(operand: Operand) -> str:
    """`number`, `text`, `truth`; `any` of a setting, which may be each of them."""
    if isinstance(operand, Value):
        return {bool: "truth", str: "text"}.get(type(operand.value), "number")
    if operand.kind == "config":
        return "any"
    return "text" if operand.kind == "field" and operand.name in TEXTS else "number"


def _number(token: _Token) -> float:
    text = token.text
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
