package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// GetFor sends GETs for the duration over the given number of connections, one at a time on
// each, and returns how many were answered with 200. It reads only what it needs of a
// response, so that most of the machine is left to the servers that are measured.
func (c *Client) GetFor(ctx context.Context, connections int, path string, duration time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var answered atomic.Int64
	err := each(context.WithoutCancel(ctx), connections, connections, func(int) error {
		p, err := dial(context.WithoutCancel(ctx), c.base)
		if err != nil {
			return err
		}
		defer p.Close()
		if err := p.SetDeadline(time.Now().Add(duration + 20*time.Second)); err != nil {
			return fmt.Errorf("get %s: %w", path, err)
		}
		request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		for ctx.Err() == nil {
			if _, err := p.Write(request); err != nil {
				return fmt.Errorf("get %s: %w", path, err)
			}
			status, _, err := p.response()
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("the response is %d", status)
			}
			if err != nil {
				return fmt.Errorf("get %s: %w", path, err)
			}
			answered.Add(1)
		}
		return nil
	})
	return int(answered.Load()), err
}

// Latencies sends n GETs one after another over one connection. path returns the path of
// request i. It returns the time that each took, in seconds.
func (c *Client) Latencies(ctx context.Context, n int, path func(i int) string) ([]float64, error) {
	p, err := dial(ctx, c.base)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	took := make([]float64, n)
	for i := range n {
		if err := p.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		start := time.Now()
		if _, err := fmt.Fprintf(p, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path(i), host); err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		if err := readResponse(p); err != nil {
			return nil, fmt.Errorf("get %s: %w", path(i), err)
		}
		took[i] = time.Since(start).Seconds()
	}
	return took, nil
}

// readResponse reads a response with the status 200, in any framing.
func readResponse(p *conn) error {
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the response is %s: %s", resp.Status, body)
	}
	return err
}
