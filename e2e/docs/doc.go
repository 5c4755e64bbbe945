// Package docs tests that what the repository says of itself is true: links,
// commands, dependencies, package comments and the direction of imports.
package docs
