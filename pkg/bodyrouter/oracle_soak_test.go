//go:build soak

package bodyrouter

import "testing"

// go test -tags soak -run Soak ./pkg/bodyrouter
func TestSoakScannerAgreesWithEncodingJSON(t *testing.T) { differ(t, 1_000_000) }

func TestSoakAMillionNamesAreOneSeries(t *testing.T) { oneSeries(t, 1_000_000) }
