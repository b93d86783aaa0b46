package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// host is a host name that a shop always allows, even if its containers are addressed directly.
const host = "localhost"

// conn is a persistent connection. It is not safe for concurrent use.
type conn struct {
	net.Conn
	in *bufio.Reader
	// Of the last response.
	body       []byte
	retryAfter bool // it has the header Retry-After
}

func dial(ctx context.Context, base string) (*conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}

// place sends the body of an order and returns the response. Its body is valid until the next
// request.
func (c *conn) place(order []byte) (int, []byte, error) {
	c.retryAfter = false
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, nil, fmt.Errorf("place an order: %w", err)
	}
	if _, err := fmt.Fprintf(c, "POST /orders/ HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", host, len(order), order); err != nil {
		return 0, nil, fmt.Errorf("place an order: %w", err)
	}
	status, respBody, err := c.response()
	if err != nil {
		return 0, nil, fmt.Errorf("place an order: %w", err)
	}
	return status, respBody, nil
}

var errNoLength = errors.New("the response has no Content-Length")

// response reads a response that has a Content-Length. Its body is valid until the next
// call. It reads only what it needs: http.ReadResponse would take twice the CPU time, from
// the machine that is measured.
func (c *conn) response() (status int, body []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	if status, err = strconv.Atoi(string(code)); err != nil || string(version) != "HTTP/1.1" {
		return 0, nil, fmt.Errorf("the response begins with %q", line)
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			break
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, fmt.Errorf("length: %w", err)
			}
		case bytes.EqualFold(name, []byte("Retry-After")):
			c.retryAfter = true
		}
	}
	if length < 0 {
		return 0, nil, errNoLength
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return 0, nil, fmt.Errorf("body: %w", err)
	}
	return status, c.body, nil
}
