# fish completion for platter
function __platter_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] complete fish $words[2..-1] 2>/dev/null)
    if string match -q 'files*' -- $lines[1]
        set -l prefix (string replace -r '^files ?' '' -- $lines[1])
        set -l rest (string sub -s (math (string length -- "$prefix") + 1) -- (commandline -ct))
        for name in (__fish_complete_path "$rest")
            echo -- $prefix$name
        end
        return
    end
    printf '%s\n' $lines[2..-1]
end
complete -c platter -f -a '(__platter_complete)'
