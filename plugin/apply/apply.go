// Package apply sends objects that we made to the cluster, or prints them, as
// kubectl does: --dry-run, -o, --field-manager, server-side apply, and one line
// for each object. install and create use it. Start at Options.
package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// FieldManager is the default owner of the fields that create and install
// write. It is not the rollouts': they give up what they wrote at their end.
const FieldManager = "kubectl-infer-create"

// Options are the flags.
type Options struct {
	DryRun, Output, Manager string
	Force                   bool // take fields that another manager owns
}

// Add registers the flags.
func (o *Options) Add(set *pflag.FlagSet) {
	set.StringVar(&o.DryRun, "dry-run", "none", "none; client: make nothing and ask the cluster nothing; server: have the API server check it, and keep nothing")
	set.StringVarP(&o.Output, "output", "o", "", "yaml, json or name: print the objects instead of what was done; with --dry-run=client to read or keep them")
	set.StringVar(&o.Manager, "field-manager", FieldManager, "name that owns the fields")
	set.BoolVar(&o.Force, "force-conflicts", false, "take over fields that another manager owns")
}

// Check refuses values that no flag has.
func (o *Options) Check() error {
	for _, flag := range []struct {
		name, value string
		allowed     []string
	}{
		{"--output", o.Output, []string{"yaml", "json", "name", ""}},
		{"--dry-run", o.DryRun, []string{"client", "server", "none"}},
	} {
		if !slices.Contains(flag.allowed, flag.value) {
			return exit.With(exit.Usage, hint.Errorf(flag.name+" "+flag.allowed[0], "%s %q is not one of %q", flag.name, flag.value, flag.allowed))
		}
	}
	return nil
}

// Offline says that the cluster is not to be asked.
func (o *Options) Offline() bool { return o.DryRun == "client" }

// Object is one object to send.
type Object struct {
	runtime.Object
	// Keep leaves an object that is there as it is: somebody else writes in it.
	Keep bool
}

// All wraps objects that are applied.
func All[T runtime.Object](list ...T) []Object {
	wrapped := make([]Object, len(list))
	for i, o := range list {
		wrapped[i] = Object{Object: o}
	}
	return wrapped
}

// Resources are all that we make, sorted.
func Resources() []schema.GroupVersionResource {
	return slices.SortedFunc(maps.Values(kinds()), func(a, b schema.GroupVersionResource) int {
		return strings.Compare(a.Resource, b.Resource)
	})
}

func kinds() map[string]schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{
		"ConfigMap":            {Version: "v1", Resource: "configmaps"},
		"Service":              {Version: "v1", Resource: "services"},
		"Lease":                {Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
		"Role":                 {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
		"RoleBinding":          {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
		"HTTPRoute":            {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
		"BackendTrafficPolicy": {Group: scaffold.PolicyGroup, Version: scaffold.PolicyVersion, Resource: "backendtrafficpolicies"},
		"ClientTrafficPolicy":  {Group: scaffold.PolicyGroup, Version: scaffold.PolicyVersion, Resource: "clienttrafficpolicies"},
	}
}

// Resource is where objects of a kind that we make live.
func Resource(of schema.GroupKind) (schema.GroupVersionResource, bool) {
	r, ok := kinds()[of.Kind]
	return r, ok && r.Group == of.Group
}

// Name is an object's name as kubectl prints it: kind.group/name.
func Name(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GroupVersionKind().GroupKind().String()) + "/" + o.GetName()
}

// Run sends the objects in their order, and prints as asked. client is not used
// when the cluster is not to be asked.
func (o *Options) Run(ctx context.Context, client dynamic.Interface, out io.Writer, objects []Object) error {
	var results []*unstructured.Unstructured
	for _, object := range objects {
		content, err := plain(object.Object)
		if err != nil {
			return err
		}
		done, suffix := content, " (dry run)"
		verb := "serverside-applied"
		if !o.Offline() {
			suffix = map[string]string{"server": " (server dry run)"}[o.DryRun]
			if done, verb, err = o.send(ctx, client, content, object.Keep); err != nil {
				return err
			}
		}
		results = append(results, done)
		switch o.Output {
		case "":
			fmt.Fprintf(out, "%s %s%s\n", Name(content), verb, suffix)
		case "name":
			fmt.Fprintln(out, Name(content))
		}
	}
	if o.Output == "yaml" || o.Output == "json" {
		return o.print(out, results)
	}
	return nil
}

// plain is an object as a person would write it: no status, no empty times.
func plain(o runtime.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	delete(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: content}, nil
}

// send applies one object, or makes it when it is to be kept, and says which.
func (o *Options) send(ctx context.Context, client dynamic.Interface, object *unstructured.Unstructured, keep bool) (*unstructured.Unstructured, string, error) {
	where := Name(object) + " in namespace " + object.GetNamespace()
	at, ok := Resource(object.GroupVersionKind().GroupKind())
	if !ok {
		return nil, "", fmt.Errorf("apply %s: no resource is known for it", where)
	}
	resource := client.Resource(at).Namespace(object.GetNamespace())
	var dry []string
	if o.DryRun == "server" {
		dry = []string{metav1.DryRunAll}
	}
	if keep {
		done, err := resource.Create(ctx, object, metav1.CreateOptions{FieldManager: o.Manager, DryRun: dry})
		if apierrors.IsAlreadyExists(err) {
			return object, "unchanged", nil
		}
		return done, "created", explain(where, err)
	}
	done, err := resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: o.Manager, Force: o.Force, DryRun: dry})
	return done, "serverside-applied", explain(where, err)
}

// explain names the object and, for a conflict, whose the fields are.
func explain(where string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return hint.Wrap(fmt.Errorf("apply %s: %w", where, err),
			"leave it to its owner and take another NAME, or take the fields over with --force-conflicts")
	case apierrors.IsForbidden(err):
		return hint.Wrap(fmt.Errorf("apply %s: %w", where, err),
			"ask somebody who may, with the objects that --dry-run=client -o yaml prints")
	case apierrors.IsNotFound(err):
		return hint.Wrap(fmt.Errorf("apply %s: %w", where, err), "is its definition installed, and the namespace there? kubectl get crds,namespaces")
	}
	return fmt.Errorf("apply %s: %w", where, err)
}

// print writes YAML documents, or JSON: one object, or a List of them.
func (o *Options) print(out io.Writer, list []*unstructured.Unstructured) error {
	for _, object := range list {
		object.SetManagedFields(nil)
	}
	if o.Output == "json" {
		var all any = list[0].Object
		if len(list) > 1 {
			all = struct {
				metav1.TypeMeta `json:",inline"`
				Items           []*unstructured.Unstructured `json:"items"`
			}{metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "List"}, list}
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	for i, object := range list {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("encode object: %w", err)
		}
		if i > 0 {
			fmt.Fprintln(out, "---")
		}
		if _, err := out.Write(text); err != nil {
			return fmt.Errorf("print objects: %w", err)
		}
	}
	return nil
}
