package scrape

// Delta turns cumulative values into increments. One Delta serves one set of
// counters (say: requests, errors and the buckets of a histogram, always in the
// same order) of any number of sources; a source is named by what changes when
// the process behind it does, such as a pod's UID. The zero value is ready to
// use, by one goroutine at a time.
type Delta struct {
	last map[string][]float64
}

// Observe takes the present values of a source and returns by how much each
// grew since it was last observed.
//
// All counters of a source start anew together, so when one of them has fallen
// the process was restarted and every increment is the new value itself: a
// restart loses what was counted between the last scrape and the end, and
// invents nothing. The same length every time is the caller's part; another
// length starts the source anew.
//
// known is false, and the increments are nil, when the source was not seen
// before: what it counted until now belongs to no window. A source known to be
// younger than the last scrape can be given its zero first, with Born.
func (d *Delta) Observe(source string, values []float64) (increments []float64, known bool) {
	if d.last == nil {
		d.last = map[string][]float64{}
	}
	last, known := d.last[source]
	d.last[source] = append([]float64(nil), values...)
	if !known || len(last) != len(values) {
		return nil, false
	}
	restarted := false
	for i, v := range values {
		restarted = restarted || v < last[i]
	}
	increments = append([]float64(nil), values...)
	if !restarted {
		for i := range increments {
			increments[i] -= last[i]
		}
	}
	return increments, true
}

// Born notes that a source began to count, n counters, after the last scrape,
// so that its first values are increments in full. A source already known is
// left as it is.
func (d *Delta) Born(source string, n int) {
	if d.last == nil {
		d.last = map[string][]float64{}
	}
	if _, known := d.last[source]; !known {
		d.last[source] = make([]float64, n)
	}
}

// Last returns the values a source was last observed with; they are not the
// caller's to change.
func (d *Delta) Last(source string) (values []float64, known bool) {
	values, known = d.last[source]
	return values, known
}

// Forget drops a source that is gone for good.
func (d *Delta) Forget(source string) { delete(d.last, source) }
