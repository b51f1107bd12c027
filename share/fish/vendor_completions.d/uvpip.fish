# uvpip takes the arguments of `uv pip install`: ask uv's completion
# (`uv generate-shell-completion fish`), if it is loaded.
complete -c uvpip -w 'uv pip install'
