// Package provider is the capability matrix: what each gateway that routes to
// InferencePools can do, what it gets wrong in which version, and how to tell
// which one a cluster has. It is a table and pure functions over it; callers
// read the cluster and hand over what they found as Facts.
//
// Start at All. docs/providers.md is Markdown(All()), held equal by a test.
//
// The rows are from the providers' source trees, their API types, their
// documentation and the issues that they name, as of August and September 2026.
// Only the sandbox and the definitions of the objects were run here; see Proof.
package provider
