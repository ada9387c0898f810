package main

// nearest finds the name that is at most two slips (a letter too many, missing, wrong, or two letters swapped) from
// what was typed, and not wholly different from it; "" if there is none.
func nearest(typed string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(typed, n); d < least && d < len(typed) && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// distance counts the slips between two words (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			slip := 1
			if a[i-1] == b[j-1] {
				slip = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+slip)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
