"""The id of a job: something of its name that a person recognises, and four characters that tell it from others."""

from __future__ import annotations

import re
import secrets

# No letter that can be taken for another, no vowel pair that makes a word by accident.
ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
_LONGEST_SLUG = 40


def slug(name: str) -> str:
    """`name` as the first part of a job id: lower case letters and digits with single dashes, at most 40 characters."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return words[:_LONGEST_SLUG].rstrip("-") or "job"


def new_id(name: str) -> str:
    """A fresh job id. Not certain to be unique: whoever stores it looks."""
    return f"{slug(name)}-{''.join(secrets.choice(ALPHABET) for _ in range(4))}"
