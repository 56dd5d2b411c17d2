#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vast_instance
short_description: Rent a machine of vast.ai, once, and see it ready or gone
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - An instance is found by its label, which should be one that nobody else gives, such as C(nightly/2026-11-22).
    With an instance of that label there, no other one is rented, however often the task runs.
  - A request to rent that got no answer is never sent again. The instance is looked for by its label; where none shows
    up within two minutes, the task fails and says that it is not known.
  - A machine is called absent only when the service shows that it is gone.
extends_documentation_fragment:
  - stoker.fleet.vast
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - C(ssh-keyscan) on the controller, for O(wait=ssh) and O(wait=login)
options:
  label:
    description: The label that the instance has, or is rented with. At most 256 characters.
    type: str
  id:
    description: The number of the instance, instead of its label. With it nothing is rented.
    type: int
  state:
    description:
      - V(present) rents it where there is none, and leaves it as it is otherwise.
      - V(running) also starts one that is stopped.
      - V(stopped) stops it; its disk stays, and is billed.
      - V(absent) destroys it with its disk.
    type: str
    choices: [present, running, stopped, absent]
    default: running
  offers:
    description:
      - Numbers of offers, as M(stoker.fleet.vast_offer_info) gives them. The first one that can still be had is rented.
    type: list
    elements: int
    default: []
  image:
    description: The container image to rent with.
    type: str
  disk_gb:
    description: Its disk, in GB. It cannot be changed later.
    type: float
    default: 10
  price:
    description:
      - A bid in US dollars per hour, for an instance that others can outbid. Without it the instance is rented on
        demand, at the price of the offer.
      - Used when the instance is rented; see M(stoker.fleet.vast_offer_info) for offers of either kind.
    type: float
  env:
    description:
      - Environment variables of the container, and its ports (C(-p 8080:8080) with the value V(1)). Not for secrets,
        which whoever has the machine can read.
      - The sessions of ssh do not have them.
    type: dict
    default: {}
  onstart:
    description: Shell text that runs in the container at each start. At most 4096 characters. Not for secrets.
    type: str
  image_login:
    description: "The login at the image's registry, as C(-u USER -p TOKEN registry.example.org)."
    type: str
  args:
    description: The command of the image, with O(runtype=args).
    type: list
    elements: str
    default: []
  runtype:
    description: How the container is started.
    type: str
    choices:
      - ssh
      - ssh_proxy
      - ssh_direc ssh_proxy
      - jupyter_proxy ssh_proxy
      - jupyter_direc ssh_direc ssh_proxy
      - args
    default: ssh_direc ssh_proxy
  public_keys:
    description: Lines of public keys that may log in to the instance when it is rented, besides those of the account.
    type: list
    elements: str
    default: []
  wait:
    description:
      - For what to wait when O(state=running) or O(state=present). With V(running), until the service says that it
        runs.
      - With V(ssh), until a handshake with its sshd succeeds; its host key is pinned in O(known_hosts) then.
      - With V(login), until a login as root succeeds, too.
      - With V(none) for nothing. An end is always waited for.
    type: str
    choices: [none, running, ssh, login]
    default: ssh
  timeout:
    description: How long to wait, in seconds.
    type: float
    default: 900
  on_failure:
    description:
      - What becomes of an instance that is not ready within O(timeout), or will not be, such as one that exited. The
        message says what was done.
    type: str
    choices: [keep, destroy]
    default: keep
  known_hosts:
    description: The file of pinned host keys, each by the name of its instance (C(vast-101)).
    type: path
    default: ~/.ssh/known_hosts.vast
  private_key_file:
    description: The private key for O(wait=login); without it those that ssh takes by itself.
    type: path
"""

EXAMPLES = r"""
- name: Look for a cheap RTX 4090
  stoker.fleet.vast_offer_info:
    filters:
      gpu_name: {eq: RTX 4090}
      num_gpus: {eq: 1}
      reliability2: {gte: 0.98}
    disk_gb: 40
    limit: 3
  register: found
  delegate_to: localhost

- name: Rent the cheapest of them that is still there
  stoker.fleet.vast_instance:
    label: nightly/2026-11-22
    offers: "{{ found.offers | map(attribute='id') }}"
    image: pytorch/pytorch:2.9.0-cuda12.8-cudnn9-runtime
    disk_gb: 40
    public_keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"]
    wait: login
    on_failure: destroy
  delegate_to: localhost

- name: Give it back
  stoker.fleet.vast_instance:
    label: nightly/2026-11-22
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
instance:
  description: The instance as the service shows it, without its environment; null where there is none.
  returned: success
  type: dict
  sample: {id: 101, label: nightly/2026-11-22, phase: running, ssh_host: 203.0.113.7, ssh_port: 40022, dph_total: 0.412}
created:
  description: Whether it was rented by this task.
  returned: success
  type: bool
reconciled:
  description: Whether the answer to the request to rent was lost, and the instance was found by its label.
  returned: success
  type: bool
kind:
  description:
    - Of which kind the service's error is, V(auth), V(gone), V(taken), V(refused), V(busy), V(quota), V(unanswered) or
      V(unreadable).
  returned: when the service gave an error
  type: str
code:
  description: The service's own word for the error.
  returned: when the service gave an error
  type: str
instance_id:
  description: An instance that the failed request left behind.
  returned: when the task failed
  type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.stoker.fleet.plugins.module_utils.vast import modules, wanted
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError, sentence
from ansible_collections.stoker.fleet.plugins.module_utils.vast.reading import judge, shown
from ansible_collections.stoker.fleet.plugins.module_utils.vast.rental import RUNTYPES, SSH, body_of, public_key
from ansible_collections.stoker.fleet.plugins.module_utils.vast.ssh import KNOWN_HOSTS

_TERMS = ("image", "disk_gb", "price", "env", "onstart", "image_login", "args", "runtype")


class Task:
    """One run of the module."""

    def __init__(self, module, vast):
        self.module, self.vast, self.asked = module, vast, module.params
        self.result = {"changed": False, "created": False, "reconciled": False}

    def run(self):
        row = wanted.find(self.vast, self.asked["label"], self.asked["id"])
        before = self._state(row)
        if self.asked["state"] == "absent":
            row = self._absent(row)
        elif self.asked["state"] == "stopped":
            row = self._stopped(row)
        else:
            row = self._there(row)
        after = self._state(row)
        if self.module.check_mode and self.result["changed"]:
            after = {"present": "running"}.get(self.asked["state"], self.asked["state"])
        diff = {"before": {"state": before}, "after": {"state": after}}
        return dict(self.result, instance=shown(row) if row else None, diff=diff)

    @staticmethod
    def _state(row):
        return judge(row).phase if row else "absent"

    def _changes(self):
        """Whether to act. Check mode ends here."""
        self.result["changed"] = True
        return not self.module.check_mode

    def _absent(self, row):
        if row is None or not self._changes():
            return row
        wanted.end(self.vast, row["id"], self.asked["timeout"])
        return None

    def _stopped(self, row):
        row = self._needed(row)
        if row.get("intended_status") != "stopped":
            if not self._changes():
                return row
            self.vast.set_state(row["id"], "stopped")
        if self.asked["wait"] == "none" or self.module.check_mode:
            return self._needed(self.vast.instance(row["id"]))
        return wanted.wait_stopped(self.vast, row["id"], self.asked["timeout"])

    def _there(self, row):
        if row is None:
            number = self._rented()
            if number is None:
                return None
        else:
            number = row["id"]
            if self.asked["state"] == "present":
                # One that is stopped is present: nothing to wait for.
                return row if row.get("intended_status") != "running" else self._ready(number)
            if row.get("intended_status") != "running":
                if not self._changes():
                    return row
                self.vast.set_state(number, "running")
        return self._ready(number)

    def _needed(self, row):
        if row is None:
            named = self.asked["label"] or self.asked["id"]
            raise VastError("there is no instance {0}".format(named), "gone")
        return row

    def _rented(self):
        """The number of a new instance; None in check mode."""
        if self.asked["id"] is not None:
            self._needed(None)
        missing = [name for name in ("offers", "image") if not self.asked[name]]
        if missing:
            words = "there is no instance {0!r}, and to rent one {1} is needed"
            raise VastError(words.format(self.asked["label"], " and ".join(missing)), "refused")
        terms = {name: self.asked[name] for name in _TERMS}
        keys = [public_key(line) for line in self.asked["public_keys"]]
        # What would be refused is refused before anything is rented, in check mode, too.
        body_of(label=self.asked["label"], cancel_unavail=None, **terms)
        if not self._changes():
            return None
        number, self.result["reconciled"] = wanted.rent(self.vast, self.asked["offers"], self.asked["label"], **terms)
        self.result["created"] = True
        try:
            for line in keys:
                self.vast.attach_key(number, line)
        except VastError as problem:
            raise self._left(number, sentence(problem), True) from None
        return number

    def _left(self, number, why, over):
        """What is said of an instance that is not as it should be, after it was kept or destroyed."""
        return wanted.NotReady(wanted.give_up(self.vast, number, why, self.asked["on_failure"]), over)

    def _ready(self, number):
        goal = self.asked["wait"]
        if goal == "none" or self.module.check_mode:
            return self._needed(self.vast.instance(number))
        probe = None
        if goal != "running":

            def probe(row):
                login = goal == "login"
                wanted.answers(row, self.asked["known_hosts"], self.asked["private_key_file"], login)

        try:
            return wanted.wait_running(self.vast, number, probe, self.asked["timeout"])
        except wanted.NotReady as problem:
            raise self._left(number, problem.message, problem.over) from None
        except VastError as problem:
            words = "whether instance {0} is ready is not known, and it was kept: {1}"
            raise wanted.NotReady(words.format(number, sentence(problem)), False) from None


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            modules.ARGUMENTS,
            label={"type": "str"},
            id={"type": "int"},
            state={"type": "str", "choices": ["present", "running", "stopped", "absent"], "default": "running"},
            offers={"type": "list", "elements": "int", "default": []},
            image={"type": "str"},
            disk_gb={"type": "float", "default": 10},
            price={"type": "float"},
            env={"type": "dict", "default": {}},
            onstart={"type": "str"},
            image_login={"type": "str", "no_log": True},
            args={"type": "list", "elements": "str", "default": []},
            runtype={"type": "str", "choices": list(RUNTYPES), "default": SSH},
            public_keys={"type": "list", "elements": "str", "default": [], "no_log": False},
            wait={"type": "str", "choices": ["none", "running", "ssh", "login"], "default": "ssh"},
            timeout={"type": "float", "default": 900},
            on_failure={"type": "str", "choices": ["keep", "destroy"], "default": "keep"},
            known_hosts={"type": "path", "default": KNOWN_HOSTS},
            private_key_file={"type": "path"},
        ),
        required_one_of=[("label", "id")],
        mutually_exclusive=[("label", "id")],
        supports_check_mode=True,
    )

    def work(vast, _params):
        task = Task(module, vast)
        try:
            return task.run()
        except wanted.NotReady as problem:
            return module.fail_json(msg=problem.message, **task.result)

    modules.run(module, work)


if __name__ == "__main__":
    main()
