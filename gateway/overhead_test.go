package main

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// BenchmarkOverhead reports the throughput of a GET through the gateway, divided by the
// throughput of the same GET sent directly to the service.
func BenchmarkOverhead(b *testing.B) {
	direct := serveAt(b, "127.0.0.1:0", echo)
	f := start(b, time.Minute, direct)
	rate := func(base string) float64 {
		const workers, each = 16, 100
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
		started := time.Now()
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() { //nolint:forbidigo // b.Error may be called on any goroutine
				for range each {
					resp, err := client.Get(base + "/orders") //nolint:noctx // bounded by the benchmark
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		}
		wg.Wait()
		return workers * each / time.Since(started).Seconds()
	}
	for b.Loop() {
		b.ReportMetric(rate(f.url)/rate("http://"+direct.addr.String()), "ratio")
	}
}
