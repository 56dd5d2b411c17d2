# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MLflow's own tracking server on a free port: argv is the URI of its store, and a folder for artefacts."""

from __future__ import annotations

import os
import sys

os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE="true",
    _MLFLOW_SERVER_FILE_STORE=sys.argv[1], _MLFLOW_SERVER_ARTIFACT_ROOT=sys.argv[2],
)  # fmt: skip

from mlflow.server import app
from werkzeug.serving import make_server

server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
