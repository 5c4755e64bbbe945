// Package command is the command line of the sandbox: `kubectl infer sandbox`,
// one file per verb.
//
// Start reading at New, which makes the tree, and Main, which runs it and turns
// its error into messages and an exit code: 0 done, 1 error, 2 usage, and for
// `run` the code of its COMMAND.
//
// Verbs other than up and run act on the sandbox named by --name, else by
// KUBECTL_INFER_SANDBOX, else on the only one that is running.
package command
