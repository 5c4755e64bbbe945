package modelsim

import "slices"

// options is the command line: vLLM's flags that mean something here, then the
// simulator's own. One without usage is another server's name for the same.
func options(c *Config, bind *string) []option {
	address := option{"bind-address", one, text(bind), "address to bind (default $POD_IP, else --host)"}
	return slices.Concat(vllmOptions(c), []option{address}, simulatorOptions(c))
}

func vllmOptions(c *Config) []option {
	served := func(s string) error { c.ServedNames = append(c.ServedNames, s); return nil }
	quiet := func(string) error { c.AccessLog = false; return nil }
	return []option{
		{"model", one, text(&c.Model), "weights to serve; the positional argument"},
		{"served-model-name", many, served, "names clients ask for (default: the model)"},
		{"host", one, text(&c.Host), "address to bind, after $POD_IP (default: all)"},
		{"port", one, integer(&c.Port), "port to bind (default 8000)"},
		{"enable-lora", none, boolean(&c.EnableLoRA), "allow LoRA adapters; --lora-modules implies it"},
		{"lora-modules", many, adapterList(&c.Adapters), "adapters: name=path or JSON"},
		{"max-loras", one, integer(&c.MaxLoRAs), "adapters in one batch (default 1)"},
		{"max-cpu-loras", one, func(string) error { return nil }, "accepted; the simulator keeps every adapter"},
		{"max-model-len", one, integer(&c.MaxModelLen), "tokens of prompt and answer (default 8192)"},
		{"max-num-seqs", one, integer(&c.MaxNumSeqs), "requests in one batch (default 256)"},
		{"num-gpu-blocks-override", one, integer(&c.NumBlocks), "KV-cache blocks (default 8192)"},
		{"block-size", one, integer(&c.BlockSize), "tokens in a block (default 16)"},
		{"seed", one, integer(&c.Seed), "seed of every draw (default 0)"},
		{"disable-uvicorn-access-log", none, quiet, "no access log on stdout"},
		{"time-to-first-token", one, duration(&c.TTFT), ""},
		{"inter-token-latency", one, duration(&c.TPOT), ""},
	}
}

func simulatorOptions(c *Config) []option {
	return []option{
		{"ttft", one, duration(&c.TTFT), "mean time to first token of a 128-token prompt on an idle server (default 100ms)"},
		{"tpot", one, duration(&c.TPOT), "mean time per output token in a batch of one (default 10ms)"},
		{"jitter", one, number(&c.Jitter), "shape of the log-normal noise on both (default 0.15)"},
		{"output-tokens", one, integer(&c.OutputTokens), "mean length of an answer nobody limits (default 32)"},
		{"answer", one, text(&c.Answer), "how every answer begins (default: says who it is)"},
		{"stall-every", one, duration(&c.StallEvery), "mean time between stalls of the whole server (default 0, none)"},
		{"stall-duration", one, duration(&c.StallDuration), "length of a stall (default 500ms)"},
		{"fault-slow-factor", one, number(&c.Faults.SlowFactor), "start slower by this factor"},
		{"fault-error-rate", one, number(&c.Faults.ErrorRate), "start with this probability of 500"},
		{"fault-hang", none, boolean(&c.Faults.Hang), "start hung"},
		{"fault-share", one, number(&c.Faults.Share), "share of requests the faults touch (default 0, all)"},
		{"fault-model", one, text(&c.Faults.Model), "target model the faults touch (default: every one)"},
		{"max-waiting-requests", one, integer(&c.MaxWaiting), "requests in the queue; past it 503 (default 1024)"},
		{"max-lora-modules", one, integer(&c.MaxAdapters), "adapters loaded at once (default 1024)"},
		{"max-body-bytes", one, integer(&c.MaxBody), "size of one request body (default 32 MiB)"},
		{"max-bodies-bytes", one, integer(&c.MaxBodies), "size of all bodies being read; past it 503 (default 256 MiB)"},
		{"read-timeout", one, duration(&c.ReadTimeout), "time to read one body (default 1m)"},
		{"write-timeout", one, duration(&c.WriteTimeout), "time for one write of a response (default 1m)"},
		{"idle-timeout", one, duration(&c.IdleTimeout), "life of an idle connection; above Envoy's 1h (default 2h)"},
		{"drain-timeout", one, duration(&c.DrainTimeout), "time to finish requests after SIGTERM (default 25s)"},
	}
}
