package option

import (
	"strings"

	"platter/formats/qobj"
)

type element struct {
	name, value string
	flag        bool
}

// elements splits a list into its elements.
func elements(list string) []element {
	var all []element
	for e := range qobj.Opts(list, "") {
		all = append(all, element{e.Name, e.Value, e.Flag})
	}
	return all
}

// cutValue returns the text up to the first single comma with doubled commas undone, and what follows from that
// comma on.
func cutValue(s string) (value, rest string) {
	for i := 0; i < len(s); i++ {
		if s[i] != ',' {
			continue
		}
		if i+1 == len(s) || s[i+1] != ',' {
			return strings.ReplaceAll(s[:i], ",,", ","), s[i:]
		}
		i++
	}
	return strings.ReplaceAll(s, ",,", ","), ""
}
