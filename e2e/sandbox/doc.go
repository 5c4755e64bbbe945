// Package sandbox tests the sandbox as a user has it: the built program in
// bin/, the real kubectl, and the processes, ports and files that are left when
// it is over.
//
// Start reading at rig_test.go, which brings sandboxes up in a cache of their
// own (with the machine's assets) and finds their processes in /proc by folder
// and by address. `make build assets` comes first; what is missing fails a test.
package sandbox
