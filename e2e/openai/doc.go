// Package openai holds the simulated model server against OpenAI's own client
// libraries, for Go here and for Python in client_test.py: what they accept, a
// real application accepts. It is a module of its own, so that the libraries
// stay out of kubectl-infer's. Run `make build` before its tests; the Python
// library is installed once, into the cache folder. Start reading at
// server_test.go.
package openai
