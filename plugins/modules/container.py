#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container
short_description: Make, start, stop or remove a container, and report how it differs from what is wanted
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Works with Podman or Docker, through the command line that the node has.
  - A container that exists and differs from what is wanted is reported, field by field, in RV(drift). It is made anew
    only with O(recreate=true); the old one is kept until the new one runs, and put back when it does not.
  - Only the options that are given are compared. A container made anew keeps everything else of the old one.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The container's name.
    type: str
    required: true
  state:
    description:
      - V(present) makes it where there is none, and leaves it running or stopped as it is.
      - V(started) makes it where there is none, and starts it. One that ends at once with an error fails the task.
      - V(stopped) stops it; V(absent) stops and removes it. V(absent) fails where an engine that the node has does not
        answer and no other has the container.
    type: str
    choices: [present, started, stopped, absent]
    default: started
  engine:
    description: Which engine is asked, on a node that has both. By default the one that has the container, else
      Podman.
    type: str
    choices: [podman, docker]
  image:
    description: The image, as C(nvcr.io/nvidia/pytorch:25.03-py3). Needed to make a container; pulled when it is not
      there.
    type: str
  command:
    description: The command as a list; the image's own by default.
    type: list
    elements: str
  entrypoint:
    description: The entry point as a list; the image's own by default.
    type: list
    elements: str
  env:
    description: Environment variables. Not for secrets.
    type: dict
  secret_env:
    description: Names of environment variables that are secret. Their values are in no argument list, and are never
      shown.
    type: list
    elements: str
    default: []
  workdir:
    description: Working directory in the container.
    type: str
  user:
    description: User in the container.
    type: str
  gpus:
    description: V(all), or indexes or UUIDs of GPUs; V(none) for no GPU. Podman finds them by the node's CDI files
      (C(nvidia-ctk cdi generate)), Docker by its NVIDIA runtime.
    type: list
    elements: str
  mounts:
    description: Folders and volumes, as C(SOURCE:/TARGET) or C(SOURCE:/TARGET:ro). A source that begins with C(/) or
      C(~) is a folder of the node, and must exist; any other is a volume.
    type: list
    elements: str
  ports:
    description: Ports, as C(HOST:CONTAINER) or C(IP:HOST:CONTAINER), with C(/udp) where it is not TCP.
    type: list
    elements: str
  restart:
    description: V(no), V(always), V(unless-stopped), V(on-failure) or V(on-failure:N).
    type: str
  network:
    description: V(host), V(none) or the name of a network.
    type: str
  ipc:
    description: V(host) to share the memory segments of the node, as some multi-process loaders need.
    type: str
    choices: [host, private]
  shm_size:
    description: Size of C(/dev/shm), as V(8G).
    type: str
  ulimits:
    description: Limits, as C(memlock=-1:-1). They are set when the container is made, and not compared.
    type: list
    elements: str
  labels:
    description: Labels. They are set when the container is made, and not compared.
    type: dict
  recreate:
    description: Make a container that differs anew. What was written into it, and not to a mount, is lost.
    type: bool
    default: false
  grace:
    description: Seconds that it may take to end when it is stopped.
    type: float
    default: 10.0
seealso:
  - module: stoker.fleet.container_info
"""

EXAMPLES = r"""
- name: A container with all GPUs and the projects
  stoker.fleet.container:
    name: pytorch
    image: nvcr.io/nvidia/pytorch:25.03-py3
    command: [sleep, infinity]
    gpus: all
    ipc: host
    mounts:
      - /srv/projects:/workspace
    ports:
      - 127.0.0.1:8888:8888
    restart: unless-stopped
  register: pytorch

- name: Make it anew when it is not as it should be
  stoker.fleet.container:
    name: pytorch
    image: nvcr.io/nvidia/pytorch:25.04-py3
    recreate: true
"""

RETURN = r"""
container:
  description: The container as it is now; null where there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    engine:
      description: V(podman) or V(docker).
      type: str
      returned: always
    state:
      description: The engine's own word, such as V(running), V(exited), V(created).
      type: str
      returned: always
    image:
      description: Its image.
      type: str
      returned: always
    gpus:
      description: Its GPUs; V(all) alone for all of them. null where the engine does not tell.
      type: list
      elements: str
      returned: always
actions:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [created, started]
notes:
  description: Why an engine that the node has did not answer, where no other one had the container. Also warned of.
  returned: success
  type: list
  elements: str
drift:
  description: What is not as wanted, with C(field), C(wanted) and C(actual). In check mode before, else after the
    task.
  returned: success
  type: list
  elements: dict
"""
