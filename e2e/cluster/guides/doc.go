// Package guides runs the pages of docs/guides on a sandbox, as they stand: every
// sh block, in order, in one shell, and each line "# → TEXT" must be found in
// what its block printed, after the one before. The folders beside this file
// hold the guides' objects. Start at TestThePagesOfTheGuides.
package guides
