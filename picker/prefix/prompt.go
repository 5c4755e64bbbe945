package prefix

import (
	"encoding/binary"
	"hash/maphash"
)

// MaxBlocks is the largest number of blocks of one prompt that are told apart.
const MaxBlocks = 128

// Prompt is the beginning of one prompt, as chained hashes of its blocks: the hash
// of a block depends on all before it. It takes bytes as they come and keeps none.
type Prompt struct {
	index  *Index
	hash   maphash.Hash
	filled int // bytes in the block that is not whole yet
	blocks int // whole blocks
	sums   [MaxBlocks]uint64
}

// NewPrompt returns the Prompt of a request.
func (x *Index) NewPrompt() *Prompt {
	p := &Prompt{index: x}
	p.hash.SetSeed(x.seed)
	return p
}

// Write takes the next bytes.
func (p *Prompt) Write(b []byte) {
	for len(b) > 0 && !p.Full() {
		n := min(len(b), p.index.block-p.filled)
		_, _ = p.hash.Write(b[:n]) // never an error
		b, p.filled = b[n:], p.filled+n
		if p.filled == p.index.block {
			p.seal()
		}
	}
}

// seal ends a block and begins the next with its hash.
func (p *Prompt) seal() {
	sum := p.hash.Sum64()
	p.sums[p.blocks] = sum
	p.blocks, p.filled = p.blocks+1, 0
	var link [8]byte
	binary.LittleEndian.PutUint64(link[:], sum)
	p.hash.Reset()
	_, _ = p.hash.Write(link[:])
}

// Full says that further bytes make no difference; so it is of no Prompt, nil.
func (p *Prompt) Full() bool { return p == nil || p.blocks == p.index.blocks }

// Blocks is the number of whole blocks; no Prompt, nil, has none.
func (p *Prompt) Blocks() int {
	if p == nil {
		return 0
	}
	return p.blocks
}
