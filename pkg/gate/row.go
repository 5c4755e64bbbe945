package gate

// A row is what one arm did in one window as it was exported: the requests in
// each bucket of a histogram, the last above every edge; for errors [good, bad].
// Rows of windows and of pods add up. What of a row is bad depends on the
// bound, so rows outlive a change of the edge.

// Count says how many requests of a row were on the bad side. edges are those
// of the row's buckets in seconds, ascending; nil for errors.
func (b Bound) Count(row []uint64, edges []float64) Counts {
	return countAbove(row, edges, b.HarmEdge)
}

// countAbove counts as bad what is above edge, and for errors what failed.
func countAbove(row []uint64, edges []float64, edge float64) Counts {
	var c Counts
	for i, n := range row {
		c.Requests += n
		if i >= max(1, len(edges)) || i < len(edges) && edges[i] > edge*(1+1e-9) {
			c.Bad += n
		}
	}
	return c
}

// AddRow adds row to sum, which may be nil.
func AddRow(sum, row []uint64) []uint64 {
	out := make([]uint64, max(len(sum), len(row)))
	copy(out, sum)
	for i, n := range row {
		out[i] += n
	}
	return out
}
