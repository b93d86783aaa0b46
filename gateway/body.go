package main

import (
	"io"
	"sync"
)

// counted is the body of an answer; until it is closed the request is in hand.
type counted struct {
	io.ReadCloser
	replica *replica
	once    sync.Once
}

// Close implements io.Closer.
func (c *counted) Close() error {
	c.once.Do(func() { c.replica.inFlight.Add(-1) })
	return c.ReadCloser.Close()
}

// bufferPool implements httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
