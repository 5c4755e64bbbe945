// Package gate decides from counts whether a canary is worse than allowed, and
// stays right however often it is asked. It is pure: counts and times come in,
// verdicts go out.
package gate
