// Package bodyrouter holds the body router's manifests, for what applies them
// without a user's kubectl.
package bodyrouter

import _ "embed"

//go:embed serviceaccount.yaml
var account string

//go:embed rbac.yaml
var rbac string

// Access returns the ServiceAccount, the Role and the RoleBinding, in this order:
// a YAML document each.
func Access() []byte { return []byte(account + "---\n" + rbac) }
