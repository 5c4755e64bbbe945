package modelsim

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// commandLine is arguments and environment, what they configure, and the flags
// that are noted on stderr.
type commandLine struct {
	args string // separated by spaces
	env  map[string]string
	want func(*Config)
	note string
}

func commandLines() map[string]commandLine {
	return map[string]commandLine{
		"a guide's vllm serve line": {
			args: "serve /models/Qwen-2.5-7B-Instruct --port 8000 --trust-remote-code --served-model-name qwen --max-model-len 4096 --gpu-memory-utilization 0.95 --enforce-eager --enable-lora --max-loras 2 --max-cpu-loras 4 --lora-modules travel-helper-v1=/models/a travel-helper-v2=/models/b",
			want: func(c *Config) {
				c.Model, c.ServedNames, c.MaxModelLen, c.EnableLoRA, c.MaxLoRAs = "/models/Qwen-2.5-7B-Instruct", []string{"qwen"}, 4096, true, 2
				c.Adapters = []Adapter{{Name: "travel-helper-v1", Path: "/models/a"}, {Name: "travel-helper-v2", Path: "/models/b"}}
			},
			note: "--trust-remote-code --gpu-memory-utilization --enforce-eager\n",
		},
		"api_server arguments with underscores": {
			args: "--model /model/llama2 --tensor-parallel-size 1 --gpu_memory_utilization 0.8 --enable-lora --max_loras 4 --lora-modules sql-lora=/adapters/0 --chat-template /etc/vllm/x.jinja",
			want: func(c *Config) {
				c.Model, c.ServedNames, c.EnableLoRA, c.MaxLoRAs = "/model/llama2", []string{"/model/llama2"}, true, 4
				c.Adapters = []Adapter{{Name: "sql-lora", Path: "/adapters/0"}}
			},
			note: "--tensor-parallel-size --gpu-memory-utilization --chat-template\n",
		},
		"adapters as JSON imply LoRA": {
			args: `--model m --lora-modules {"name":"ski-resorts"} {"name":"b","path":"/b","base_model_name":"m"}`,
			want: func(c *Config) {
				c.Model, c.ServedNames, c.EnableLoRA = "m", []string{"m"}, true
				c.Adapters = []Adapter{{Name: "ski-resorts"}, {Name: "b", Path: "/b", Base: "m"}}
			},
		},
		"several names, given together and again": {
			args: "m --served-model-name a b --served-model-name=c",
			want: func(c *Config) { c.Model, c.ServedNames = "m", []string{"a", "b", "c"} },
		},
		"an unknown flag's value is not the model": {
			args: "--dtype half --swap-space -1 m --middleware a b --port 1",
			want: func(c *Config) { c.Model, c.ServedNames, c.Port = "m", []string{"m"}, 1 },
			note: "--dtype --swap-space --middleware\n",
		},
		"an unknown switch leaves the model alone": {
			args: "--enable-prefix-caching m",
			want: func(c *Config) { c.Model, c.ServedNames = "m", []string{"m"} },
			note: "--enable-prefix-caching\n",
		},
		"POD_IP goes before --host": {
			args: "m --host 0.0.0.0",
			env:  map[string]string{"POD_IP": "127.9.2.1", "POD_NAME": "p", "POD_NAMESPACE": "ns"},
			want: func(c *Config) {
				c.Model, c.ServedNames, c.Host, c.Pod, c.Namespace = "m", []string{"m"}, "127.9.2.1", "p", "ns"
			},
		},
		"--bind-address goes before POD_IP": {
			args: "m --bind-address 127.0.0.5 --host 0.0.0.0",
			env:  map[string]string{"POD_IP": "127.9.2.1"},
			want: func(c *Config) { c.Model, c.ServedNames, c.Host = "m", []string{"m"}, "127.0.0.5" },
		},
		"latencies as durations, or in milliseconds as llm-d's": {
			args: "m --ttft 1.5s --inter-token-latency 20 --jitter 0 --seed 9 --fault-slow-factor 2 --fault-error-rate 0.5 --fault-hang",
			want: func(c *Config) {
				c.Model, c.ServedNames, c.TTFT, c.TPOT, c.Jitter, c.Seed = "m", []string{"m"}, 1500*time.Millisecond, 20*time.Millisecond, 0, 9
				c.Faults = Faults{SlowFactor: 2, ErrorRate: 0.5, Hang: true}
			},
		},
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for name, tc := range commandLines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := DefaultConfig()
			tc.want(&want)
			var stderr strings.Builder
			got, help, err := parseArgs(strings.Fields(tc.args), func(k string) string { return tc.env[k] }, &stderr)
			if err != nil || help {
				t.Fatalf("error %v, help %v", err, help)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("config differs (-want +got):\n%s", diff)
			}
			_, note, _ := strings.Cut(stderr.String(), "ignored: ")
			if note != tc.note || strings.Count(stderr.String(), "\n") > 1 {
				t.Errorf("stderr %q, want the note %q", stderr.String(), tc.note)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCommandLinesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"no model":                 "--port 8000",
		"two models":               "a b",
		"a flag without value":     "m --port",
		"a port that is no number": "m --port x",
		"an adapter twice":         "m --lora-modules a=1 a=2",
		"broken adapter JSON":      `m --lora-modules {"name":`,
		"a batch of none":          "m --max-num-seqs 0",
		"a fault out of range":     "m --fault-error-rate 7",
		"wild jitter":              "m --jitter NaN",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, _, err := parseArgs(strings.Fields(args), func(string) string { return "" }, io.Discard)
			if err == nil {
				err = cfg.Validate()
			}
			if err == nil || hint.Of(err) == "" {
				t.Errorf("error %v with hint %q: want both", err, hint.Of(err))
			}
		})
	}
}

func TestHelpNamesEveryOwnFlag(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if _, help, err := parseArgs([]string{"--help"}, func(string) string { return "" }, &out); err != nil || !help {
		t.Fatalf("help %v, %v", help, err)
	}
	for _, flag := range []string{"--ttft", "--tpot", "--bind-address", "--max-waiting-requests", "--fault-hang", "--drain-timeout"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("%s is missing from the help", flag)
		}
	}
}

func TestFaultsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"a speed-up":        `{"slowFactor":0.5}`,
		"a rate above 1":    `{"errorRate":1.1}`,
		"a negative rate":   `{"errorRate":-0.1}`,
		"an unknown fault":  `{"slow":4}`,
		"not a JSON object": `4`,
		"an empty body":     ``,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if f, err := readFaults(strings.NewReader(doc)); err == nil {
				t.Errorf("%s gave %+v", doc, f)
			}
		})
	}
}
