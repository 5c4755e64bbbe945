package modelsim

import (
	"path"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Adapter is one LoRA adapter.
type Adapter struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Base string `json:"base_model_name"`
}

// Config is everything a simulated model server is told at its start.
type Config struct {
	EngineConfig

	Model        string   // path or name of the weights
	ServedNames  []string // names clients may ask; the first is in the metrics
	Adapters     []Adapter
	EnableLoRA   bool
	MaxAdapters  int    // adapters that may be loaded at once
	MaxModelLen  int    // tokens of prompt and answer together
	OutputTokens int    // mean length of an answer nobody limits
	Answer       string // how every answer begins; "" introduces the speaker
	Faults       Faults

	Pod, Namespace string // named in the response headers

	Host         string // address to bind; "" is all
	Port         int
	AccessLog    bool
	MaxBody      int64 // bytes of one request body
	MaxBodies    int64 // bytes of all bodies being read
	ReadTimeout  time.Duration
	WriteTimeout time.Duration // for each write of a response
	IdleTimeout  time.Duration
	DrainTimeout time.Duration
}

// DefaultConfig is the configuration without flags, apart from the model,
// which has no default.
func DefaultConfig() Config {
	return Config{
		EngineConfig: EngineConfig{
			MaxNumSeqs: 256, MaxWaiting: 1024, MaxLoRAs: 1, NumBlocks: 8192, BlockSize: 16,
			TTFT: 100 * time.Millisecond, TPOT: 10 * time.Millisecond, Jitter: 0.15,
			StallDuration: 500 * time.Millisecond,
		},
		MaxAdapters: 1024, MaxModelLen: 8192, OutputTokens: 32,
		Port: 8000, AccessLog: true,
		MaxBody: 32 << 20, MaxBodies: 256 << 20,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Hour, DrainTimeout: 25 * time.Second,
	}
}

// Validate reports the first value that cannot work.
func (c Config) Validate() error {
	const see = "see model-server-sim --help"
	if c.Model == "" {
		return hint.Errorf("name one, as in: model-server-sim qwen-v1 --served-model-name qwen", "model-server-sim: no model named")
	}
	for _, n := range []struct {
		flag  string
		value int64
		least int64
	}{
		{"max-num-seqs", int64(c.MaxNumSeqs), 1},
		{"max-waiting-requests", int64(c.MaxWaiting), 0},
		{"max-loras", int64(c.MaxLoRAs), 1},
		{"max-lora-modules", int64(c.MaxAdapters), int64(len(c.Adapters))},
		{"max-model-len", int64(c.MaxModelLen), 2},
		{"num-gpu-blocks-override", int64(c.NumBlocks), 1},
		{"block-size", int64(c.BlockSize), 1},
		{"output-tokens", int64(c.OutputTokens), 1},
		{"max-body-bytes", c.MaxBody, 1},
		{"max-bodies-bytes", c.MaxBodies, c.MaxBody},
		{"ttft", int64(c.TTFT), 0},
		{"tpot", int64(c.TPOT), 0},
		{"stall-every", int64(c.StallEvery), 0},
		{"stall-duration", int64(c.StallDuration), 0},
		{"drain-timeout", int64(c.DrainTimeout), 0},
	} {
		if n.value < n.least {
			return hint.Errorf(see, "model-server-sim: --%s is %d, below %d", n.flag, n.value, n.least)
		}
	}
	if !(c.Jitter >= 0 && c.Jitter <= 2) {
		return hint.Errorf(see, "model-server-sim: --jitter %v is not between 0 and 2", c.Jitter)
	}
	return hint.Wrap(c.Faults.Validate(), see)
}

// speaker is who an answer says it is: the last element of the model's path,
// so that two pools behind one model name can be told apart by reading.
func (c Config) speaker() string { return path.Base(c.Model) }
