package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
)

// The resource types that are served.
const (
	clusterType  = resource.ClusterType
	endpointType = resource.EndpointType
	listenerType = resource.ListenerType
	routeType    = resource.RouteType
)

// Snapshot is one complete Envoy configuration.
type Snapshot struct {
	// Version is a hash of the content.
	Version   string
	resources map[string]map[string]types.Resource // type URL → name
}

func newSnapshot() *Snapshot {
	return &Snapshot{resources: map[string]map[string]types.Resource{
		clusterType: {}, endpointType: {}, listenerType: {}, routeType: {},
	}}
}

func (s *Snapshot) add(typeURL string, resources ...types.Resource) {
	for _, r := range resources {
		s.resources[typeURL][cache.GetResourceName(r)] = r
	}
}

// seal computes the version.
func (s *Snapshot) seal() error {
	hash := sha256.New()
	for _, typeURL := range slices.Sorted(maps.Keys(s.resources)) {
		for _, name := range slices.Sorted(maps.Keys(s.resources[typeURL])) {
			body, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.resources[typeURL][name])
			if err != nil {
				return fmt.Errorf("marshal %s %s: %w", typeURL, name, err)
			}
			fmt.Fprintf(hash, "%s %s %d\n", typeURL, name, len(body))
			hash.Write(body)
		}
	}
	s.Version = hex.EncodeToString(hash.Sum(nil))[:16]
	return nil
}

// keeping is s together with the clusters of old that s no longer has, and
// their endpoints: requests that were routed before s still name them.
func (s *Snapshot) keeping(old *Snapshot) (*Snapshot, error) {
	merged := newSnapshot()
	for typeURL, byName := range s.resources {
		maps.Copy(merged.resources[typeURL], byName)
	}
	for name, cluster := range old.resources[clusterType] {
		if _, present := merged.resources[clusterType][name]; present {
			continue
		}
		merged.add(clusterType, cluster)
		if endpoints, ok := old.resources[endpointType][name]; ok {
			merged.add(endpointType, endpoints)
		}
	}
	return merged, merged.seal()
}

// cached is the form that go-control-plane serves.
func (s *Snapshot) cached() (*cache.Snapshot, error) {
	byType := map[resource.Type][]types.Resource{}
	for typeURL, byName := range s.resources {
		byType[typeURL] = slices.Collect(maps.Values(byName))
	}
	snapshot, err := cache.NewSnapshot(s.Version, byType)
	if err != nil {
		return nil, err
	}
	if err := snapshot.Consistent(); err != nil {
		return nil, err
	}
	return snapshot, snapshot.ConstructVersionMap()
}

// without is s less one cluster and its endpoints.
func (s *Snapshot) without(cluster string) *Snapshot {
	smaller := newSnapshot()
	for typeURL, byName := range s.resources {
		maps.Copy(smaller.resources[typeURL], byName)
	}
	delete(smaller.resources[clusterType], cluster)
	delete(smaller.resources[endpointType], cluster)
	return smaller
}

// addsClusters reports whether s has a cluster that old has not.
func (s *Snapshot) addsClusters(old *Snapshot) bool {
	for name := range s.resources[clusterType] {
		if _, present := old.resources[clusterType][name]; !present {
			return true
		}
	}
	return false
}

// withClustersOf is the listeners and routes of s over the clusters of next.
func (s *Snapshot) withClustersOf(next *Snapshot) (*Snapshot, error) {
	ahead := newSnapshot()
	for _, typeURL := range []string{clusterType, endpointType} {
		maps.Copy(ahead.resources[typeURL], next.resources[typeURL])
	}
	for _, typeURL := range []string{listenerType, routeType} {
		maps.Copy(ahead.resources[typeURL], s.resources[typeURL])
	}
	return ahead, ahead.seal()
}
