# Completion of edgecam for bash 4.4 and later. Bash finds it by itself below /usr, /usr/local and
# ~/.local; for an environment elsewhere:  . .venv/share/bash-completion/completions/edgecam
# The installed edgecam says what to complete, so that both are always of one version.
eval "$(_EDGECAM_COMPLETE=bash_source edgecam)"
