#compdef platter
# zsh completion for platter
_platter() {
	local -a lines words_ helps
	local line word
	lines=("${(@f)$(${words[1]} complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ ${lines[1]} == files* ]]; then
		compset -P "${${lines[1]#files}# }"
		_files
		return
	fi
	for line in "${(@)lines[2,-1]}"; do
		[[ -n $line ]] || continue
		word=${line%%$'\t'*}
		words_+=("$word")
		helps+=("$word -- ${line#*$'\t'}")
	done
	(( $#words_ )) || return 1
	if [[ ${words_[1]} == *[=,] ]]; then
		compadd -S '' -l -d helps -a words_
	else
		compadd -l -d helps -a words_
	fi
}
if [[ ${funcstack[1]} == _platter ]]; then
	_platter "$@"
else
	compdef _platter platter
fi
