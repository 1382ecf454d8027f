# Completion of edgecam for fish. Fish finds it by itself below /usr, /usr/local and ~/.local; for an
# environment elsewhere:  source .venv/share/fish/vendor_completions.d/edgecam.fish
# The installed edgecam says what to complete, so that both are always of one version.
_EDGECAM_COMPLETE=fish_source edgecam | source
