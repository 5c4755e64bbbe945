// Package scaffold_test holds everything that create, init and install make
// against a real API server with the gateways' own definitions, and runs a first
// deployment on the sandbox: one sandbox for all tests. main_test.go starts it,
// verbs_test.go is every provider × verb, life_test.go runs what was made.
package scaffold_test
