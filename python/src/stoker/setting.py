"""What a setting has to be: the words for it, and the numbers that are allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

# The largest number that a store holds everywhere.
MOST = 2**31 - 1
FORBID = {"extra": "forbid", "strict": False}


@dataclass(frozen=True)
class Is:
    """What a field has to be, as the end of "'x' is not ..."; the numbers from `least` to `most` are allowed.

    `foreign`: what is in it is judged by whoever it is for. `absolute`: each text of it is a path from the root.
    """

    words: str
    least: float | None = None
    most: float = MOST
    regex: bool = False
    foreign: bool = False
    absolute: bool = False


Seconds = Annotated[float, Is("a number of seconds, 0 or more", least=0)]
Count = Annotated[int, Is("a whole number, 0 or more", least=0)]
Bytes = Annotated[int, Is("a number of bytes, 0 or more", least=0, most=2**63 - 1)]
Name = Annotated[str, Is("a text")]
Folder = Annotated[str, Is("an absolute folder")]
Regex = Annotated[str, Is("a regular expression", regex=True)]
OnOff = Annotated[bool, Is("true or false")]
Percent = Annotated[float, Is("a share in percent, 0 or more", least=0)]
Weight = Annotated[float, Is("a weight, a number of 0 or more", least=0)]
Positive = Annotated[float, Is("a number of 1 or more", least=1)]

Role = Literal["read", "operate", "spend", "administer"]
IS_ROLE = Is("one of read, operate, spend, administer")
