/* Copyright (c) 2026, Stoker contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A stand-in for libnvidia-ml.so.1, enough for the real pynvml to read GPUs from the file FAKE_NVML_STATE:
 *   mode ok|no_driver|hang
 *   gpu UUID NAME TOTAL USED UTIL MEMUTIL TEMP MILLIWATT LIMIT SM MEM THROTTLE ECC ECCALL LOST BUS PENDING FAILURE
 *       RECOVERIES                                                                  (-1: not supported, or no NVLink)
 *   process GPU PID BYTES DRAWS                                                     (-1: not told)
 * Sizes are bytes; a name has _ for each space. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, BAD_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9, LOST = 15, MISMATCH = 25 };

typedef unsigned long long u64;
typedef struct { char uuid[96], name[96], bus[32]; long long total, used, ecc, ecc_all; int pending, failure, recoveries, util, mem_util, temp, power, limit, sm, mem, lost; u64 throttle; } Gpu;
typedef struct { unsigned version; u64 total, reserved, free, used; } Memory;
typedef struct { unsigned pid; u64 memory; unsigned gpu_instance, compute_instance; } Process;

static Gpu gpus[16];
static int count, running;
static struct { int gpu; unsigned pid; long long memory; int draws; } processes[64];

int nvmlInitWithFlags(unsigned flags) {
    char kind[16], mode[16] = "ok";
    FILE *file = fopen(getenv("FAKE_NVML_STATE") ? getenv("FAKE_NVML_STATE") : "/nowhere", "r");
    if (!file || flags) return NO_DRIVER;
    count = running = 0;
    while (fscanf(file, "%15s", kind) == 1) {
        Gpu *g = &gpus[count];
        if (!strcmp(kind, "mode")) {
            if (fscanf(file, "%15s", mode) != 1) return BAD_ARGUMENT;
        } else if (!strcmp(kind, "gpu")) {
            if (fscanf(file, "%95s %95s %lld %lld %d %d %d %d %d %d %d %llx %lld %lld %d %31s %d %d %d", g->uuid, g->name, &g->total,
                       &g->used, &g->util, &g->mem_util, &g->temp, &g->power, &g->limit, &g->sm, &g->mem, &g->throttle,
                       &g->ecc, &g->ecc_all, &g->lost, g->bus, &g->pending, &g->failure, &g->recoveries) != 19) return BAD_ARGUMENT;
            for (char *c = g->name; *c; c++) if (*c == '_') *c = ' ';
            count++;
        } else {
            if (fscanf(file, "%d %u %lld %d", &processes[running].gpu, &processes[running].pid, &processes[running].memory,
                       &processes[running].draws) != 4)
                return BAD_ARGUMENT;
            running++;
        }
    }
    fclose(file);
    while (!strcmp(mode, "hang")) pause();
    return strcmp(mode, "no_driver") ? OK : NO_DRIVER;
}

int nvmlDeviceGetCount_v2(unsigned *found) { *found = count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **found) {
    if (index >= (unsigned)count) return BAD_ARGUMENT;
    *found = &gpus[index];
    return gpus[index].lost ? LOST : OK;
}

static int text(const char *value, char *into, unsigned size) {
    if (strlen(value) >= size) return TOO_SMALL;
    strcpy(into, value);
    return OK;
}

static int number(long long value, unsigned *into) {
    if (value < 0) return NOT_SUPPORTED;
    *into = value;
    return OK;
}

static int large(long long value, u64 *into) {
    if (value < 0) return NOT_SUPPORTED;
    *into = value;
    return OK;
}

int nvmlDeviceGetUUID(Gpu *g, char *into, unsigned size) { return text(g->uuid, into, size); }
int nvmlDeviceGetName(Gpu *g, char *into, unsigned size) { return text(g->name, into, size); }
int nvmlDeviceGetPowerUsage(Gpu *g, unsigned *into) { return number(g->power, into); }
int nvmlDeviceGetEnforcedPowerLimit(Gpu *g, unsigned *into) { return number(g->limit, into); }
int nvmlDeviceGetTemperature(Gpu *g, int sensor, unsigned *into) { return sensor ? BAD_ARGUMENT : number(g->temp, into); }

int nvmlDeviceGetUtilizationRates(Gpu *g, unsigned into[2]) {
    into[1] = g->mem_util;
    return number(g->util, into);
}

int nvmlDeviceGetClockInfo(Gpu *g, int kind, unsigned *into) {
    return kind == 1 ? number(g->sm, into) : kind == 2 ? number(g->mem, into) : BAD_ARGUMENT;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *g, u64 *into) { *into = g->throttle; return OK; }
int nvmlDeviceGetCurrentClocksEventReasons(Gpu *g, u64 *into) { *into = g->throttle; return OK; }

int nvmlDeviceGetTotalEccErrors(Gpu *g, int kind, int counter, u64 *into) {
    return kind != 1 ? BAD_ARGUMENT : large(counter ? g->ecc_all : g->ecc, into);
}

int nvmlDeviceGetMemoryInfo_v2(Gpu *g, Memory *into) {
    if (into->version != (sizeof *into | 2 << 24)) return MISMATCH;
    if (g->total < 0) return NOT_SUPPORTED;
    into->total = g->total, into->used = g->used, into->reserved = 1 << 20;
    into->free = g->total - g->used - into->reserved;
    return OK;
}

static int list(Gpu *g, unsigned *size, Process *into, int draws) {
    unsigned found = 0, room = into ? *size : 0;
    for (int i = 0; i < running; i++) {
        if (&gpus[processes[i].gpu] != g || processes[i].draws != draws) continue;
        if (found < room) into[found] = (Process){processes[i].pid, (u64)processes[i].memory, ~0u, ~0u};
        found++;
    }
    *size = found;
    return found > room ? TOO_SMALL : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *g, unsigned *size, Process *into) { return list(g, size, into, 0); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *g, unsigned *size, Process *into) { return list(g, size, into, 1); }

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; } Pci;

int nvmlDeviceGetPciInfo_v3(Gpu *g, Pci *into) {
    memset(into, 0, sizeof *into);
    return text(g->bus, into->address, sizeof into->address);
}

int nvmlDeviceGetRemappedRows(Gpu *g, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failure) {
    if (g->pending < 0) return NOT_SUPPORTED;
    *corrected = 0, *uncorrected = g->pending, *pending = g->pending, *failure = g->failure;
    return OK;
}

int nvmlDeviceGetNvLinkState(Gpu *g, unsigned link, unsigned *active) {
    if (g->recoveries < 0) return NOT_SUPPORTED;
    if (link >= 18) return BAD_ARGUMENT;
    *active = 1;
    return OK;
}

int nvmlDeviceGetNvLinkErrorCounter(Gpu *g, unsigned link, unsigned counter, u64 *into) {
    if (link >= 18 || counter > 4) return BAD_ARGUMENT;
    *into = link == 3 && counter == 1 ? g->recoveries : 0;
    return OK;
}

int nvmlSystemGetProcessName(unsigned pid, char *into, unsigned size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(into, size, file)) return NOT_FOUND;
    fclose(file);
    return OK;
}
