// Package mirror is what a mirror that ends in a verdict is: a Plan, the Record
// of how far it came, a pure transition function and a small loop. It imports no
// Kubernetes; the route, the journal, the Service of the shadow, evidence,
// clocks and reporters are interfaces supplied by others, most of them those of
// package rollout.
//
// Start at Next, which alone decides, then read Run. The phases:
//
//	Ready ──▶ Mirroring ──▶ Removing ──▶ Done
//	  └────────────────────────┘
//
// Ready watches the primary alone, for the edges and spreads the gates need, and
// to know what the copies will cost. Mirroring copies and compares. Removing
// takes the filter off first and the Service after it; every end leads there,
// whatever the verdict: a signal, a request, a foreign write, too many tokens.
// What is to be written is recorded before it is written, so that any process
// can take away what a dead one left.
//
// The token budget ends a mirror, it does not lower its percentage: a verdict
// over two percentages would be one over two different loads. What was seen
// until then is reported, undecided unless it already showed harm.
//
// Clients never wait for the shadow and never see its answers, so a mirror that
// outlives its process costs tokens and no answer. That is why nothing resumes
// one: `mirror stop` takes it away, and a new one begins with fresh tests.
package mirror
