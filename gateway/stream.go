package main

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gozon/gateway/internal/http1"
)

const (
	// streamWriteTimeout is how long a write to an event stream may wait for the client to
	// read. Without a limit, a client that stops reading could block a write forever, and
	// with it the shutdown of the gateway. The service cannot unblock it: by then it has
	// closed its own connection.
	streamWriteTimeout = 10 * time.Second
	// streamBufferSize is how much of a stream is forwarded at once. Most events fit into it.
	streamBufferSize = 2 << 10
)

// isStream reports whether resp is an event stream. An event stream does not end until one
// side closes it.
func isStream(resp *http1.Response) bool {
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return resp.ContentLength < 0 && strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}

// stream is an event stream on its way from a service to a client.
type stream struct {
	of     string // the name of the client
	source *http1.Stream
	client interface {
		io.Writer
		SetWriteDeadline(t time.Time) error
	}
	socket  syscall.RawConn // of the client; nil if the stream does not own the connection
	chunked bool            // each write to the client must be a chunk
	ended   atomic.Bool
}

// end ends the stream as if the service had ended it.
func (s *stream) end() {
	s.ended.Store(true)
	_ = s.source.Close() // unblocks Read
}

const (
	chunkHeadSize = len("000\r\n") // three digits are enough for streamBufferSize
	chunkTailSize = len("\r\n")
	lastChunk     = "0\r\n\r\n"
)

// streamBuffers holds buffers for chunks. An idle stream has none.
var streamBuffers = sync.Pool{New: func() any { return new([chunkHeadSize + streamBufferSize + chunkTailSize]byte) }}

// copy forwards the stream until it ends. A stream that broke off is not complete.
func (s *stream) copy() (complete bool) {
	for {
		s.source.Wait()
		if ended, complete := s.copyOnce(); ended {
			return complete
		}
	}
}

// copyOnce forwards what has arrived, as far as it fits into a buffer.
func (s *stream) copyOnce() (ended, complete bool) {
	buf, _ := streamBuffers.Get().(*[chunkHeadSize + streamBufferSize + chunkTailSize]byte)
	defer streamBuffers.Put(buf)
	n, err := s.source.Read(buf[chunkHeadSize:][:streamBufferSize])
	if n > 0 && s.write(s.frame(buf[:], n)) != nil {
		return true, false
	}
	return err != nil, err == io.EOF || s.ended.Load() //nolint:errorlint // io.Reader returns io.EOF itself
}

// frame returns the part of buf to write: the n bytes after chunkHeadSize, as a chunk if the
// client expects chunks. It avoids fmt, for which the stack of each stream would grow.
func (s *stream) frame(buf []byte, n int) []byte {
	end := chunkHeadSize + n
	if !s.chunked {
		return buf[chunkHeadSize:end]
	}
	const digits = "0123456789abcdef"
	buf[0], buf[1], buf[2] = digits[n>>8], digits[n>>4&0xf], digits[n&0xf]
	copy(buf[3:], "\r\n")
	copy(buf[end:], "\r\n")
	return buf[:end+chunkTailSize]
}

func (s *stream) write(b []byte) error {
	if err := s.client.SetWriteDeadline(time.Now().Add(streamWriteTimeout)); err != nil {
		return err
	}
	_, err := s.client.Write(b)
	return err
}
