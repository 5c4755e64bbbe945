package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

const (
	fieldManager     = "kubectl-infer-sandbox"
	establishedLimit = 30 * time.Second
)

// definition is one CustomResourceDefinition as written and as understood.
type definition struct {
	raw []byte // JSON
	crd apiextensionsv1.CustomResourceDefinition
}

// InstallCRDs applies CustomResourceDefinitions server-side (some are too large
// for a client-side apply) and returns when every version of each is served.
// A document is one YAML file and may hold several objects; anything that is
// not a CustomResourceDefinition is an error. It waits 30 seconds at most.
func InstallCRDs(ctx context.Context, config *rest.Config, documents ...[]byte) error {
	definitions, err := parseCRDs(documents)
	if err != nil {
		return err
	}
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client for %s: %w", config.Host, err)
	}
	crds := client.ApiextensionsV1().CustomResourceDefinitions()
	force := true
	for _, d := range definitions {
		options := metav1.PatchOptions{FieldManager: fieldManager, Force: &force}
		if _, err := crds.Patch(ctx, d.crd.Name, types.ApplyPatchType, d.raw, options); err != nil {
			return fmt.Errorf("apply customresourcedefinition %s: %w", d.crd.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, establishedLimit)
	defer cancel()
	for _, d := range definitions {
		last := errors.New("not asked yet")
		err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			last = served(ctx, client, &d.crd)
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("wait for customresourcedefinition %s: %w (last: %w)", d.crd.Name, err, last)
		}
	}
	return nil
}

// served lists every version once. That takes an established definition, and
// shows what the condition alone does not: that the handler is there as well.
func served(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	for _, v := range crd.Spec.Versions {
		if !v.Served {
			continue
		}
		err := client.ApiextensionsV1().RESTClient().Get().
			AbsPath("/apis", crd.Spec.Group, v.Name, crd.Spec.Names.Plural).
			Param("limit", "1").Do(ctx).Error()
		if err != nil {
			return err
		}
	}
	return nil
}

func parseCRDs(documents [][]byte) ([]definition, error) {
	var all []definition
	for _, document := range documents {
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(document)))
		for {
			raw, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read customresourcedefinitions: %w", err)
			}
			d, err := parseCRD(raw)
			if err != nil {
				return nil, err
			}
			if d != nil {
				all = append(all, *d)
			}
		}
	}
	return all, nil
}

// parseCRD returns nil for a document of comments only.
func parseCRD(raw []byte) (*definition, error) {
	asJSON, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("parse customresourcedefinition: %w", err)
	}
	if string(asJSON) == "null" {
		return nil, nil
	}
	d := definition{raw: asJSON}
	if err := json.Unmarshal(asJSON, &d.crd); err != nil {
		return nil, fmt.Errorf("parse customresourcedefinition: %w", err)
	}
	if d.crd.Kind != "CustomResourceDefinition" || d.crd.Name == "" {
		return nil, fmt.Errorf("parse customresourcedefinition: found kind %q named %q", d.crd.Kind, d.crd.Name)
	}
	return &d, nil
}
