#!/bin/sh
# The server of one seat: on a working copy of the notebooks in the user's home, as ./lab opens it.
set -eu
cd "$HOME"
notebooks=$(python3 - <<'PY'
import sys
from kvmlab.runbook import file_to_open
print(file_to_open("00", "en", say=lambda line: print(line, file=sys.stderr)).parent)
PY
)
exec jupyterhub-singleuser --ServerApp.root_dir="$notebooks" --LabApp.news_url=None \
    --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
    --LanguageServerManager.autodetect=False \
    --LabApp.app_settings_dir="${KVMLAB_CLONE:-/srv/kvmlab}/kvmlab/runbook/jupyterlab_settings" "$@"
