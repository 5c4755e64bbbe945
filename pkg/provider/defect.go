package provider

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// DefectsOf are the defects that a version of the provider has. A version that
// is unknown or cannot be read may have any: all are returned.
func (p Provider) DefectsOf(installed string) []Defect {
	v, err := parse(installed)
	var has []Defect
	for _, d := range p.Defects {
		if err != nil || d.in(v) {
			has = append(has, d)
		}
	}
	return has
}

// in says whether v is from From on, not after Last and before Fixed.
func (d Defect) in(v *version.Version) bool {
	from, noFrom := parse(d.From)
	last, noLast := parse(d.Last)
	fixed, noFixed := parse(d.Fixed)
	return (noFrom != nil || v.AtLeast(from)) && (noLast != nil || last.AtLeast(v)) && (noFixed != nil || v.LessThan(fixed))
}

// parse reads 1.30.1, v1.4.0-apsara.4 or 1.28. A build such as 1.30.1-distroless
// is its release, not a version before it.
func parse(text string) (*version.Version, error) {
	text = strings.TrimSuffix(strings.TrimSuffix(text, "-distroless"), "-debug")
	if v, err := version.ParseSemantic(text); err == nil {
		return v, nil
	}
	return version.ParseGeneric(text)
}

// Versions is when the defect is there, for people.
func (d Defect) Versions() string {
	switch {
	case d.From != "" && d.From == d.Last:
		return "seen in " + d.Last
	case d.Last != "":
		return "up to " + d.Last + " at least"
	case d.Fixed != "":
		return "before " + d.Fixed
	}
	return "no version is known to be without it"
}
