#!/bin/sh
# The server of one seat: on a working copy of the notebooks in the user's home, as ./lab opens it.
set -eu
cd "$HOME"
notebooks=$(python3 - <<'PY'
import sys
from kvmlab.language import current_language
from kvmlab.runbook import file_to_open
language = current_language()
print(file_to_open("00", language, say=lambda line: print(line, file=sys.stderr)).parent)
PY
)
clone=${KVMLAB_CLONE:-/srv/kvmlab}
# A terminal's shell is no login shell, which would set PATH anew and not find `kvmlab`.
exec jupyterhub-singleuser --ServerApp.root_dir="$notebooks" --LabApp.news_url=None \
    --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
    --LanguageServerManager.autodetect=False \
    --LabApp.app_settings_dir="$clone/kvmlab/runbook/jupyterlab_settings" \
    --LabApp.extra_labextensions_path="$clone/kvmlab/labextensions" \
    --ServerApp.terminado_settings="{'shell_command': ['${SHELL:-/bin/sh}']}" "$@"
