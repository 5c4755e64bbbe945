// Package scrape reads Prometheus metrics pages, for the endpoint picker and
// for the command line alike, so that both believe the same page in the same
// way.
//
// A page comes from a process that is trusted only half: it may be endless,
// malformed or not a metrics page at all. Fetch therefore bounds time, bytes,
// lines and series, follows no redirect and, with the client of NewClient,
// heeds no proxy variable. Only the lines of the wanted families are parsed, by
// Prometheus' own parser; the others are counted and dropped.
//
// Start reading at Fetch, then Parse; Page answers questions about one page and
// Delta turns successive pages into increments. Errors are told apart by
// ErrUnreachable, ErrStatus, ErrTooLarge and ErrMalformed.
//
// Sources: the text format and OpenMetrics 1.0
// (https://prometheus.io/docs/instrumenting/exposition_formats/ and
// https://prometheus.io/docs/specs/om/open_metrics_spec/).
package scrape
