// Package modelsim is the simulated model server: it speaks the OpenAI API and
// vLLM's command line, metrics and LoRA endpoints, and makes up only the time
// an answer takes. The sandbox runs one process of it per model-server Pod, so
// that routing, gates and rollouts can be rehearsed on a laptop.
//
//	model-server-sim qwen-v1 --served-model-name qwen --ttft 200ms --tpot 20ms
//	curl localhost:8000/v1/completions -d '{"model":"qwen","prompt":"Who are you?"}'
//	curl -X PUT localhost:8000/sandbox/faults -d '{"slowFactor":4,"errorRate":0.2}'
//
// model-server-sim --help lists the flags and their defaults.
//
// Start reading at Engine: a pure state machine of continuous batching in which
// time is an argument. Around it stand loop.go (one timer that drives the
// engine; nothing runs while the server is idle), completions.go (the OpenAI
// conversation), models.go (base names and LoRA adapters), metrics.go (vLLM's
// series) and main.go (flags, listening, draining).
//
// # What is modelled
//
//   - The first token comes after queueing and prefill. Half of --ttft is fixed,
//     half grows with the prompt tokens that the prefix cache does not hold; a
//     prompt of 128 tokens on an idle server takes --ttft on average.
//   - Decoding goes in steps shared by the whole batch, each --tpot long on
//     average and up to half longer when the batch is full. All requests of a
//     server therefore slow down together, as real ones do.
//   - --max-num-seqs requests run at a time, and only as many as the KV cache
//     holds; at most --max-loras adapters run together. The rest wait in order,
//     --max-waiting-requests at most; past that the answer is 503.
//   - --stall-every makes shared pauses, for tests of correlated latencies.
//   - Every draw is keyed by --seed and the number of the request or step, so
//     the same arrivals meet the same latencies.
//
// A token is four bytes of prompt, rounded up, and one word of answer. Without
// max_tokens an answer has about --output-tokens words; with "ignore_eos" it
// has exactly max_tokens. The text begins with who is speaking.
//
// # Faults
//
// GET and PUT /sandbox/faults read and replace Faults in a running server. A
// slow server's clock runs slower, a hung one's stands still: requests are
// accepted, nothing progresses, /health and /metrics still answer, as with a
// real engine that is stuck behind a live API server. With Model or Share a
// fault touches requests of that target model, or that part of all requests,
// only; those slow down or stand in the batch while their neighbours go on.
//
// # Health and the end
//
// /health and /ping answer 200 from the moment the port is open. On SIGTERM the
// port is closed, running requests finish for up to --drain-timeout, and Main
// returns nil, or an error when it had to cut some. A hung server does not
// wait.
//
// # Where it differs from vLLM
//
// Prompts times n may not exceed --max-num-seqs. LoRA endpoints need
// no VLLM_ALLOW_RUNTIME_LORA_UPDATING. vllm:lora_requests_info is one series,
// where vLLM leaves every old label set behind. Unknown flags are noted once on
// stderr and ignored. $POD_IP is bound before --host, since sandbox Pods share
// one machine.
package modelsim
