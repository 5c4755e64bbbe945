package complete

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd/api"
)

// fromConfig offers names of the kubeconfig; the cluster is not asked.
func (c *completer) fromConfig(typed string, names func(config api.Config) []string) ([]string, cobra.ShellCompDirective) {
	config, err := c.flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found := slices.DeleteFunc(names(config), func(name string) bool { return !strings.HasPrefix(name, typed) })
	return found, cobra.ShellCompDirectiveNoFileComp
}

func (c *completer) contexts(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.fromConfig(typed, func(config api.Config) []string { return slices.Sorted(maps.Keys(config.Contexts)) })
}

func (c *completer) clusters(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.fromConfig(typed, func(config api.Config) []string { return slices.Sorted(maps.Keys(config.Clusters)) })
}

func (c *completer) users(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.fromConfig(typed, func(config api.Config) []string { return slices.Sorted(maps.Keys(config.AuthInfos)) })
}
