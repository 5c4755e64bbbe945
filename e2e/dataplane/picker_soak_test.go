//go:build soak

package dataplane

import "testing"

func TestSoakRollingRestartsOfThePicker(t *testing.T) { rollPickers(t, 200) }
