// Package prefix remembers which model servers were lately sent prompts that begin
// alike, because a model server that has computed the beginning of a prompt keeps
// it in its KV cache and need not compute it again. Start reading at Index.Lookup.
//
// A prompt is cut into blocks of equal size; each is known by a hash that depends
// on all blocks before it, and on the model, because adapters do not share a cache.
// The bytes are those of the request body, as JSON writes them: no tokenizer is
// needed to see that two bodies begin alike.
//
// What is decided here:
//
//   - The picker learns from its own choices and hears nothing from the model
//     servers. It may be wrong, and then costs one prompt's computation.
//   - A block's holders are a set of all model servers, not the last few: a system
//     prompt that everybody holds must draw nobody to a few of them.
//   - Memory is fixed. What was not asked for longest among four goes first, and
//     what was sent longer ago than a window or two is forgotten.
//   - The hash is seeded anew in each process, so that nobody can write prompts
//     that collide; replicas therefore each learn for themselves.
package prefix
