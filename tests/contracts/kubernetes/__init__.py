# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server of Kubernetes for tests, strict and without a cluster (README.md)."""

from .double import Double, kubeconfig, kubernetes_double

__all__ = ["Double", "kubeconfig", "kubernetes_double"]
