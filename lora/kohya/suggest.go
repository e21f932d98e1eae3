package kohya

import (
	"slices"
	"strings"
)

// suggest names the known names nearest to an unknown one, as the end of a message: "; near it are a, b".
func suggest(name string, known []string) string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	if name = strings.ToLower(name); len(name) > 100 {
		return ""
	}
	for _, k := range known {
		d := distance(name, k)
		if len(name) > 3 && strings.Contains(k, name) {
			d = min(d, 2)
		}
		if d <= max(2, len(name)/3) {
			near = append(near, candidate{k, d})
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.SortFunc(near, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	names := []string{}
	for _, c := range near[:min(3, len(near))] {
		names = append(names, c.name)
	}
	return "; near it: " + strings.Join(names, ", ")
}

// distance counts the letters to put in, leave out or change to make one name the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
