package examples

import (
	"cmp"
	"regexp"
	"strings"
)

// story is what surrounds the examples of one command.
type story struct {
	before, after string         // scripts around each example; after runs however it ended
	quick         string         // flags for the command's own lines
	endless       *regexp.Regexp // lines that are ended by Ctrl-C
	patience      string         // how long after, when not three seconds
	place         place
}

// place is where examples run; places run beside each other.
type place string

const (
	onStage   place = "on the stage"
	inNew     place = "in new namespaces"
	elsewhere place = "with sandboxes of their own"
)

// tools are what the scripts of the stories call: started leaves a rollout running
// in its first step and mirroring a mirror, ended ends either and waits for it.
const tools = `
quick='` + quickRun + `'
rollout() { kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 $quick "$@" >run.out 2>&1; }
started() {
  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 $quick --steps 50 --bake 10m >run.out 2>&1 & run=$!
  kubectl wait --for=jsonpath='{.spec.rules[0].backendRefs[1].weight}'=50 --timeout=60s httproute/chat || { cat run.out >&2; false; }
}
ended() { kill -TERM $run 2>/dev/null || true; wait $run || true; }
back() { kubectl infer canary undo httproute/chat || true; }
mirror="httproute/chat --to inferencepool/qwen-v2 --percent 20 ` + quickMirror + `"
mirroring() {
  kubectl infer mirror start $mirror --duration 10m >mirror.out 2>&1 & run=$!
  kubectl wait --for=jsonpath='{.spec.rules[0].filters[0].type}'=RequestMirror --timeout=60s httproute/chat || { cat mirror.out >&2; false; }
}
`

const (
	quickRun    = "--calibrate 0 --bake 500ms --settle 100ms --scrape-interval 100ms --min-requests 1 --lease-duration 1s --ignore-share"
	quickMirror = "--max-tokens-per-second 100000 --calibrate 1s --settle 100ms --scrape-interval 100ms --min-requests 1 --lease-duration 1s --duration 3s"
	quickGate   = "--calibrate 6s --bake 5s --scrape-interval 200ms --min-requests 1"
	planFile    = "printf '%s\\n' 'stable: qwen-v1' 'canary: qwen-v2' 'steps: [50, 100]' 'gates: [errors < 5%]' >plan.yaml"
	aborted     = "kubectl infer canary abort httproute/chat || true; ended"
	waiting     = "rollout --steps 50:approve,100 --wait=false || test $? = 17"
	second      = "export KUBECTL_INFER_SANDBOX=$SECOND" // the sandbox that a command without --name is about
	gateway     = "kubectl infer create gateway inference-gateway --provider sandbox\n"
	ofIstio     = "kubectl infer create gateway inference-gateway --provider istio\n"
	pool        = "kubectl infer create pool qwen-v1 --selector app=qwen-v1 --provider istio\n"
	route       = "kubectl infer create route chat --model qwen=qwen-v1\n"
)

// stories are by command; one that is not named runs on the stage as it is.
func stories() map[string]story {
	watched := regexp.MustCompile(`--watch\b`)
	all := map[string]story{
		"":               {before: second, after: "back; kubectl infer sandbox down || true"},
		"canary abort":   {before: "started", after: aborted},
		"canary explain": {before: "rollout --steps 50,100; back"},
		"canary finish":  {before: "rollout --steps 100", after: `kubectl apply -k "$ROOT/e2e/examples/stage"`},
		"canary pause":   {before: "started", after: aborted},
		"canary plan":    {before: planFile + "; echo 'targets: [httproute/chat]' >>plan.yaml", quick: "--watch 1s"},
		"canary promote": {before: waiting, after: "kubectl infer canary abort httproute/chat"},
		"canary replay":  {after: "back"},
		"canary resume":  {before: "started; kubectl infer canary pause httproute/chat", after: aborted},
		"canary run":     {before: planFile, quick: quickRun, after: "back"},
		"canary status":  {before: "rollout --steps 50,100", after: "back", endless: watched},
		"canary undo":    {before: "rollout --steps 100"},
		"gate":           {before: waiting, quick: quickGate, after: "kubectl infer canary abort httproute/chat"},
		"mirror report":  {before: "kubectl infer mirror start $mirror"},
		"mirror start":   {before: "kubectl get service qwen-v2 || kubectl expose deployment qwen-v2 --port 8000", quick: quickMirror},
		"mirror status":  {before: "mirroring", after: "ended"},
		"mirror stop":    {before: "mirroring", after: "ended"},
		"top":            {endless: watched},
		"uninstall rbac": {before: "kubectl infer install rbac --for httproute/chat --service-account ci"},
		"uninstall":      {before: "kubectl infer install rbac --for httproute/chat --service-account ci"},
		"verify":         {before: "mirroring", after: "ended"},
		"verify mirror":  {before: "mirroring", after: "ended"},

		// bash has no fpath of its own, and two words of the last line are PowerShell's.
		"completion": {before: `fpath=(. .); mkdir -p .config/fish/completions; Out-String() { cat; }; Invoke-Expression() { test -n "$(cat)"; }`},

		"create":                    {place: inNew, before: gateway},
		"create gateway":            {place: inNew},
		"create model":              {place: inNew, before: gateway},
		"create model-server":       {place: inNew},
		"create policy":             {place: inNew, before: gateway + route},
		"create pool":               {place: inNew},
		"create route":              {place: inNew, before: gateway},
		"delete":                    {place: inNew},
		"init":                      {place: inNew},
		"install":                   {place: inNew, before: ofIstio + pool + route},
		"install body-router":       {place: inNew, before: ofIstio},
		"install endpoint-picker":   {place: inNew, before: ofIstio + pool},
		"uninstall body-router":     {place: inNew, before: ofIstio + "kubectl infer install body-router --gateway inference-gateway"},
		"uninstall endpoint-picker": {place: inNew, before: ofIstio + pool + "kubectl infer install endpoint-picker --pool qwen-v1"},

		"sandbox":        {place: elsewhere, before: second, after: "kubectl infer sandbox down || true"},
		"sandbox down":   {place: elsewhere, before: second + "; kubectl infer sandbox up --detach; kubectl infer sandbox up --detach --name rehearsal"},
		"sandbox load":   {quick: "--duration 2s"},
		"sandbox logs":   {endless: regexp.MustCompile(` -f$`)},
		"sandbox run":    {place: elsewhere, before: second},
		"sandbox status": {place: elsewhere, before: "kubectl infer sandbox up --detach --name rehearsal", after: "kubectl infer sandbox down --name rehearsal"},
		"sandbox up":     {place: elsewhere, before: second, after: "kubectl infer sandbox down --name rehearsal", endless: regexp.MustCompile(`up$`), patience: "20s"},
	}
	told := map[string]story{}
	for command, st := range all {
		st.place = cmp.Or(st.place, onStage)
		told[strings.TrimSpace("kubectl infer "+command)] = st
	}
	return told
}
