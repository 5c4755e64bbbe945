// Package script holds sessions at the command line, to learn the tool from:
// testdata/offline needs nothing but the programs, testdata/sandbox shares one
// sandbox and reads in the order of its files. They are testscript files
// (github.com/rogpeppe/go-internal/testscript) with commands of their own:
//
//	exits CODE PROGRAM [ARG...]      runs a program that must end with CODE
//	until PATTERN PROGRAM [ARG...]   runs a program again and again until its
//	                                 output matches, for half a minute
//
// Run `make build` first. A module of its own, since testscript needs what
// kubectl-infer does not.
package script
