// Package ci runs what docs/ci and action.yml hand to pipelines: the shell
// bodies, taken out of each system's YAML and given its variables, move real
// weights on a sandbox. Start at recipes in ci_test.go.
package ci
