// Package krew installs the plugin as its users do: from an archive, by krew,
// called by kubectl. Everything comes from this machine. Start at
// TestTheInstalledPluginRollsOut.
package krew
