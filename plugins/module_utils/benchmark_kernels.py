# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program of its own: how fast this machine is, as one line of JSON. Run with ``site``: it uses numpy and torch.

It imports nothing of this package. Each figure comes with the kernel that it was measured with: figures of different
kernels are not to be compared. A figure is the fastest of many short bursts within its time, which is what the machine
can do and what changes least while something else runs; three such figures are told.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import json
import os
import sys
import threading
import time

ROUNDS = 3
SECONDS = 1.2
_MOST_THREADS = 16
# A burst is some milliseconds long on few processors as on many.
_MATRIX = next(size for most, size in ((4, 512), (16, 1024), (1 << 30, 2048)) if len(os.sched_getaffinity(0)) <= most)
_GPU_MATRIX = 8192
_COPY_BYTES = 128 * 1024 * 1024
_LOOPS = 20000
_ROW_MAJOR, _NO_TRANSPOSE = 101, 111


def main():
    """Measure everything and print it."""
    answer = {"measures": [_cpu(), _memory(), *_gpus()]}
    sys.stdout.write(json.dumps(answer) + "\n")


def _measure(name, unit, kernel, values=(), device=None, unknown=None):
    return {"name": name, "unit": unit, "kernel": kernel, "device": device, "values": list(values), "unknown": unknown}


def _bursts(work, amount, seconds=SECONDS):
    """``ROUNDS`` times the best rate of many bursts: ``amount`` is what one call of ``work`` does."""
    work()  # the first call loads libraries and touches memory
    values = []
    for _step in range(ROUNDS):
        best, end = None, time.perf_counter() + seconds
        while best is None or time.perf_counter() < end:
            began = time.perf_counter()
            work()
            took = time.perf_counter() - began
            best = took if best is None else min(best, took)
        values.append(amount / best)
    return values


# ---- CPU ----


def _cpu():
    flops = 2 * _MATRIX**3 / 1e9
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        return _cpu_without_numpy(flops)
    a = numpy.random.default_rng(1).random((_MATRIX, _MATRIX))
    out = numpy.empty_like(a)
    kernel = "numpy {0} matmul, float64, {1}x{1}".format(numpy.__version__, _MATRIX)
    return _measure("cpu", "GFLOPS", kernel, _bursts(lambda: numpy.matmul(a, a, out=out), flops))


def _cpu_without_numpy(flops):
    for name in ("openblas", "mkl_rt", "blis", "cblas", "blas"):
        path = ctypes.util.find_library(name)
        try:
            gemm = ctypes.CDLL(path).cblas_dgemm if path else None
        except (OSError, AttributeError):
            gemm = None
        if gemm is not None:
            return _blas(gemm, path, flops)
    kernel = "Python {0}.{1}.{2} loop, float64, one thread".format(*sys.version_info[:3])
    return _measure("cpu", "GFLOPS", kernel, _bursts(_loop, 2 * _LOOPS / 1e9))


def _blas(gemm, path, flops):
    count = _MATRIX * _MATRIX
    a = (ctypes.c_double * count)(*(1.0 / (1 + i % 97) for i in range(count)))
    out = (ctypes.c_double * count)()
    size, one, zero = ctypes.c_int(_MATRIX), ctypes.c_double(1.0), ctypes.c_double(0.0)
    modes = (ctypes.c_int(_ROW_MAJOR), ctypes.c_int(_NO_TRANSPOSE), ctypes.c_int(_NO_TRANSPOSE))

    def work():
        gemm(*modes, size, size, size, one, a, size, a, size, zero, out, size)

    return _measure("cpu", "GFLOPS", "{0} dgemm, float64, {1}x{1}".format(path, _MATRIX), _bursts(work, flops))


def _loop():
    total = 0.0
    for _step in range(_LOOPS):
        total = total * 0.999 + 1.5
    return total


# ---- memory ----


def _memory():
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    each = _COPY_BYTES // threads // 4096 * 4096
    source, target = bytearray(each * threads), bytearray(each * threads)
    places = [
        (ctypes.c_char * each).from_buffer(buffer, i * each) for i in range(threads) for buffer in (target, source)
    ]

    def copy(index):
        # ctypes lets the other threads run meanwhile.
        ctypes.memmove(places[2 * index], places[2 * index + 1], each)

    def work():
        running = [threading.Thread(target=copy, args=(index,)) for index in range(1, threads)]
        for thread in running:
            thread.start()
        copy(0)
        for thread in running:
            thread.join()

    kernel = "memmove of {0} MiB, {1} threads, bytes read and written".format(_COPY_BYTES // 1024 // 1024, threads)
    return _measure("memory", "GB/s", kernel, _bursts(work, 2 * each * threads / 1e9))


# ---- GPUs ----


def _gpus():
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return [
            _measure("gpu", "TFLOPS", None, unknown="no torch in the Python that measured ({0})".format(sys.prefix))
        ]
    if not torch.cuda.is_available():
        return [_measure("gpu", "TFLOPS", None, unknown="torch {0} sees no GPU".format(torch.__version__))]
    return [_gpu(torch, index) for index in range(torch.cuda.device_count())]


def _gpu(torch, index):
    device = "GPU {0} {1}".format(index, torch.cuda.get_device_name(index))
    kind = torch.bfloat16 if torch.cuda.get_device_capability(index)[0] >= 8 else torch.float16
    kernel = "torch {0} matmul, {1}, {2}x{2}".format(torch.__version__, str(kind).rpartition(".")[2], _GPU_MATRIX)
    try:
        a = torch.randn(_GPU_MATRIX, _GPU_MATRIX, device="cuda:{0}".format(index), dtype=kind)

        def work():
            torch.matmul(a, a)
            torch.cuda.synchronize(index)

        values = _bursts(work, 2 * _GPU_MATRIX**3 / 1e12)
    except RuntimeError as exc:  # out of memory, because others use it, among them
        return _measure("gpu", "TFLOPS", kernel, device=device, unknown=str(exc).splitlines()[0][:300])
    return _measure("gpu", "TFLOPS", kernel, values, device)


if __name__ == "__main__":
    main()
