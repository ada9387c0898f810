# bash completion for platter
_platter() {
	local cur=${COMP_WORDS[COMP_CWORD]} kind line
	case $cur in = | :) cur= ;; esac
	COMPREPLY=()
	{
		read -r kind
		while IFS= read -r line; do
			COMPREPLY+=("$line")
		done
	} < <("${COMP_WORDS[0]}" complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
	case $kind in
	files)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	*)
		case ${COMPREPLY[0]-} in *= | *,) compopt -o nospace ;; esac
		;;
	esac
}
complete -F _platter platter
