// Package examples runs every example of every --help as a user would type it: on
// a sandbox with the objects of stage/, by kubectl, in a folder of its own.
// stories.go says what must be there before an example and what makes a long one
// short; a command that it does not name runs as it is. Start at
// TestEveryExampleOfTheHelpRuns.
package examples
