package mirror

import "strings"

// Answers is what comparing both sides' answers to the same prompts showed, at
// temperature 0. The answers themselves are not in it.
type Answers struct {
	Asked int `json:"asked"`
	// Same answers agree word by word.
	Same int `json:"same"`
	// Similarity is the mean of all pairs, from 0 to 1; see Similarity.
	Similarity float64 `json:"similarity"`
	// Lowest is the least similar pair's.
	Lowest float64 `json:"lowest"`
}

// Add takes one more pair in.
func (a Answers) Add(primary, shadow string) Answers {
	s := Similarity(primary, shadow)
	if a.Lowest = min(a.Lowest, s); a.Asked == 0 {
		a.Lowest = s
	}
	a.Similarity = (a.Similarity*float64(a.Asked) + s) / float64(a.Asked+1)
	a.Asked++
	if s == 1 {
		a.Same++
	}
	return a
}

// maxWords bounds what is compared of an answer: the time grows with its square.
const maxWords = 2000

// Similarity is 2·L/(m+n) for texts of m and n words whose longest common
// subsequence has L: ROUGE-L's F1 (C.-Y. Lin, ROUGE: a package for automatic
// evaluation of summaries, 2004, §3). It is 1 for the same words in the same
// order, 0 for none in common, and 1 for two empty texts.
func Similarity(a, b string) float64 {
	x, y := strings.Fields(a), strings.Fields(b)
	x, y = x[:min(len(x), maxWords)], y[:min(len(y), maxWords)]
	if len(x)+len(y) == 0 {
		return 1
	}
	row := make([]int, len(y)+1)
	for _, word := range x {
		diagonal := 0
		for j, other := range y {
			above := row[j+1]
			if word == other {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return 2 * float64(row[len(y)]) / float64(len(x)+len(y))
}
