// Package demo is `make demo`: run.sh brings a sandbox up for rollouts.sh,
// which promotes one canary and has another rolled back. Its test runs both.
package demo
