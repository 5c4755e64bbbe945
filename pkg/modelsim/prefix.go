package modelsim

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// bytesPerToken is the simulator's tokenizer.
const bytesPerToken = 4

func tokenCount(text string) int { return (len(text) + bytesPerToken - 1) / bytesPerToken }

// PrefixBlocks hashes the full KV-cache blocks of a prompt, each chained to the
// one before and all to the adapter, as vLLM's prefix cache does.
func PrefixBlocks(adapter, prompt string, blockSize int) []uint64 {
	size := blockSize * bytesPerToken
	blocks := make([]uint64, 0, len(prompt)/size)
	chain := xxhash.Sum64String(adapter)
	for len(prompt) >= size {
		var d xxhash.Digest
		d.ResetWithSeed(chain)
		_, _ = d.WriteString(prompt[:size]) // a digest's write returns no error
		chain = d.Sum64()
		blocks = append(blocks, chain)
		prompt = prompt[size:]
	}
	return blocks
}

// hash64 is a stable hash of words, for ids.
func hash64(text string, n uint64) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(text) // a digest's write returns no error
	_, _ = d.Write(binary.LittleEndian.AppendUint64(nil, n))
	return d.Sum64()
}

// prefixCache remembers the newest blocks, first in, first out.
type prefixCache struct {
	held map[uint64]struct{}
	ring []uint64
	next int
}

func newPrefixCache(capacity int) *prefixCache {
	return &prefixCache{held: make(map[uint64]struct{}), ring: make([]uint64, 0, capacity)}
}

// hits counts the leading blocks that are held.
func (p *prefixCache) hits(blocks []uint64) int {
	for i, b := range blocks {
		if _, ok := p.held[b]; !ok {
			return i
		}
	}
	return len(blocks)
}

func (p *prefixCache) add(blocks []uint64) {
	for _, b := range blocks {
		if _, ok := p.held[b]; ok {
			continue
		}
		if len(p.ring) < cap(p.ring) {
			p.ring = append(p.ring, b)
		} else {
			delete(p.held, p.ring[p.next])
			p.ring[p.next] = b
			p.next = (p.next + 1) % len(p.ring)
		}
		p.held[b] = struct{}{}
	}
}
