package canary

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// given parses a command line as run does, and makes the plan's digest.
func given(t *testing.T, file string, args ...string) (string, error) {
	t.Helper()
	var f planFlags
	cmd := &cobra.Command{}
	f.add(cmd)
	if file != "" {
		path := filepath.Join(t.TempDir(), "plan.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", path)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	list, err := f.targets(cmd.Flags().Args(), nil)
	if err != nil {
		return "", err
	}
	plan, err := f.complete(list, "default")
	if err != nil {
		return "", err
	}
	return plan.Digest()
}

const wholePlan = `# a comment
apiVersion: kubectl-infer.github.io/v1alpha1
kind: CanaryPlan
targets: [httproute/b, httproute/a]
stable: qwen-v1
canary: qwen-v2
steps: [5, 25:approve, 50%, 100]
gates:
- errors < 1%
- 'ttft p95 < 800ms'
bake: 2m
addBackend: true
minRequests: 50
alpha: 0.05
`

func TestAPlanFileIsTheSamePlanAsItsFlags(t *testing.T) {
	t.Parallel()
	fromFile, err := given(t, wholePlan)
	if err != nil {
		t.Fatal(err)
	}
	fromFlags, err := given(t, "", "httproute/a", "httproute/b", "--stable", "qwen-v1", "--canary", "qwen-v2", "--steps", "5,25:approve,50,100",
		"--gate", "errors < 1%", "--gate", "ttft p95 < 800ms", "--bake", "2m", "--add-backend", "--min-requests", "50", "--alpha", "0.05")
	if err != nil || fromFile != fromFlags {
		t.Errorf("digest %s of the file, %s of the flags: %v", fromFile, fromFlags, err)
	}
	spaced, err := given(t, strings.Replace(wholePlan, "25:approve", "25: approve", 1))
	if err != nil || spaced != fromFile {
		t.Errorf("25: approve with a space: %s, %v", spaced, err)
	}
}

// TestEverySettingOfTheGatesIsAFlagAndAField sets each one by one, either way.
func TestEverySettingOfTheGatesIsAFlagAndAField(t *testing.T) {
	t.Parallel()
	const file = "stable: a\ncanary: b\n"
	plain, err := given(t, file, "httproute/chat")
	if err != nil {
		t.Fatal(err)
	}
	for flag, value := range map[string]string{
		"bake": "7m", "settle": "13s", "calibrate": "3m", "step-deadline": "40m", "blind-limit": "9m", "scrape-interval": "3s",
		"min-requests": "70", "max-restarts": "2", "promote-on": "evidence", "on-inconclusive": "rollback", "on-blind": "rollback",
		"alpha": "0.02", "capacity": "0.5", "ignore-share": "true",
	} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			byFlag, err := given(t, file, "httproute/chat", "--"+flag+"="+value)
			if err != nil || byFlag == plain {
				t.Errorf("--%s=%s makes plan %s of %s: %v", flag, value, byFlag, plain, err)
			}
			byField, err := given(t, file+fieldName(flag)+": "+value+"\n", "httproute/chat")
			if err != nil || byField != byFlag {
				t.Errorf("%s: %s makes plan %s, the flag %s: %v", fieldName(flag), value, byField, byFlag, err)
			}
		})
	}
	byDefault, err := given(t, file, "httproute/chat", "--bake", "6m", "--calibrate", "12m")
	if again, _ := given(t, file, "httproute/chat", "--bake", "6m"); err != nil || byDefault != again {
		t.Errorf("stable is not watched for two bakes by default: %s, %s, %v", byDefault, again, err)
	}
}

func TestAMistakeInAPlanFileIsShownByLineAndHint(t *testing.T) {
	t.Parallel()
	edit := func(old, now string) string { return strings.Replace(wholePlan, old, now, 1) }
	tests := map[string]struct {
		file string
		args []string
		says string
		hint string
	}{
		"another kind":                 {edit("CanaryPlan", "Rollout"), nil, `:3: kind is "Rollout"`, "kind: CanaryPlan"},
		"a field that is not known":    {edit("bake:", "bakeTime:"), nil, `:11: field "bakeTime" is not known`, "--schema"},
		"a flag's spelling":            {edit("addBackend", "add-backend"), nil, `did you mean "addBackend"?`, "addBackend: "},
		"a field given twice":          {wholePlan + "bake: 3m\n", nil, `:15: field "bake" is given twice, first in line 11`, "--schema"},
		"a duration without a unit":    {edit("2m", "2"), nil, `:11: bake: "2" is not a duration`, "bake: 30s"},
		"a number that is none":        {edit("50\nalpha", "many\nalpha"), nil, `:13: minRequests: "many" is not a whole number`, "minRequests: 200"},
		"a number out of range":        {edit("0.05", "5"), nil, `:14: alpha 5 is not between 0 and 1`, "--alpha 0.01"},
		"steps that fall":              {edit("50%, 100", "20, 100"), nil, `:7: steps [5 25 20 100] must rise`, "--steps"},
		"steps that are text":          {edit("[5, 25:approve, 50%, 100]", "all"), nil, `:7: steps is a list`, "steps: ["},
		"a step that waits for nobody": {edit("25:approve", "25:later"), nil, `:7: steps "5,25:later,50%,100"`, "approve"},
		"a gate with a wrong operator": {edit("ttft p95 <", "ttft p95 >"), nil, `plan.yaml:10: `, ""},
		"a list for one value":         {edit("qwen-v1", "[a]"), nil, `:5: stable is one value`, "--schema"},
		"a target that is none":        {edit("httproute/b", "chat"), nil, `:4: target "chat" is not TYPE/NAME`, "TYPE/NAME"},
		"a setting in both places":     {wholePlan, []string{"--bake", "3m"}, `:11: bake is in the file and on the command line (--bake)`, "one place"},
		"targets in both places":       {wholePlan, []string{"httproute/a"}, `:4: targets are in the file and on the command line`, "one place"},
		"the same pool twice":          {edit("canary: qwen-v2", "canary: qwen-v1"), nil, `:6: stable and canary are both "qwen-v1"`, "--stable"},
		"YAML that is none":            {"a: [", nil, "plan.yaml: yaml: ", "--schema"},
		"nothing":                      {"", []string{"-f", "/dev/null"}, "/dev/null:1: the plan is not a mapping", "stable"},
		"a file that is not there":     {"", []string{"-f", "nowhere.yaml"}, "nowhere.yaml", "give -f the path"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := given(t, tt.file, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.says) || exit.CodeOf(err) != exit.Usage {
				t.Fatalf("error %v with code %d, want %q", err, exit.CodeOf(err), tt.says)
			}
			if h := hint.Of(err); h == "" || !strings.Contains(h, tt.hint) {
				t.Errorf("hint %q, want %q", h, tt.hint)
			}
		})
	}
}

func TestThePublishedSchemaIsTheOneTheFlagsMake(t *testing.T) {
	t.Parallel()
	var f planFlags
	f.add(&cobra.Command{})
	var made bytes.Buffer
	if err := f.schema(&made); err != nil {
		t.Fatal(err)
	}
	published, err := os.ReadFile("../../docs/canary-plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if made.String() != string(published) {
		t.Error("docs/canary-plan.schema.json is not what `kubectl infer canary plan --schema` prints: write it anew")
	}
}
