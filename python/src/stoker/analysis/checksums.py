"""The checksums of an event file's records, all records of one length at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.readers.crc32c import TABLE
from ansible_collections.stoker.fleet.plugins.module_utils.readers.tfevents import check_content

_TABLE = np.array(TABLE, dtype=np.uint32)
# Fewer records of one length than this are checked one by one, and so are long ones.
_FEW, _LONG = 16, 4096


def damaged(data: bytes, records: Sequence[tuple[int, int, int]]) -> list[int]:
    """The indexes of the records (start, length, checksum) whose content does not fit; what `check_content` gives."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, (_, length, _) in enumerate(records):
        groups[length].append(index)
    bytes_of = np.frombuffer(data, dtype=np.uint8)
    bad: list[int] = []
    for length, indexes in groups.items():
        if len(indexes) < _FEW or length > _LONG:
            bad += [indexes[i] for i in check_content(data, [records[index] for index in indexes])]
            continue
        starts = np.array([records[index][0] for index in indexes], dtype=np.int64)
        known = np.array([records[index][2] for index in indexes], dtype=np.uint32)
        crc = np.full(len(indexes), 0xFFFFFFFF, dtype=np.uint32)
        for offset in range(length):
            crc = _TABLE[(crc ^ bytes_of[starts + offset]) & 0xFF] ^ (crc >> np.uint32(8))
        crc ^= np.uint32(0xFFFFFFFF)
        masked = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
        bad += [indexes[i] for i in np.flatnonzero(masked != known)]
    return sorted(bad)
