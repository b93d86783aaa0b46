package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/tlstest"
)

// secure is a gateway that serves HTTPS.
type secure struct {
	plain, https string // host:port
	ca           *tlstest.CA
}

// startSecure starts the whole gateway in front of b, with settings: alternating names and
// values of environment variables.
func startSecure(t *testing.T, b *backend, settings ...string) *secure {
	t.Helper()
	s := &secure{ca: tlstest.NewCA(t)}
	cert, key := s.ca.Issue(t, t.TempDir(), "localhost")
	var listeners []net.Listener
	listen := func() string {
		l, err := service.Listen(t.Context(), "127.0.0.1:0")
		require.NoError(t, err)
		listeners = append(listeners, l)
		return l.Addr().String()
	}
	s.plain, s.https = listen(), listen()
	metrics := listen()
	cfg := &config{}
	cfg.Service.ListenFunc = func(_ context.Context, addr string) (net.Listener, error) {
		for _, l := range listeners {
			if l.Addr().String() == addr {
				return l, nil
			}
		}
		return nil, fmt.Errorf("no listener for %s", addr)
	}
	environ := map[string]string{
		"HTTP_ADDR": s.plain, "METRICS_ADDR": metrics, "HTTPS_ADDR": s.https, "TLS_CERT_FILE": cert, "TLS_KEY_FILE": key,
		"ROUTES": "/orders=http://" + b.addr.String(), "OPENAPI_FILE": "../docs/openapi.yaml",
	}
	for i := 0; i < len(settings); i += 2 {
		environ[settings[i]] = settings[i+1]
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	exit := make(chan int, 1)
	go func() { exit <- program(cfg).Run(ctx, nil, environ, t.Output()) }()
	t.Cleanup(func() {
		stop()
		require.Zero(t, <-exit)
	})
	for started, ready := time.Now(), false; !ready; { // until it knows the address of b
		_, body := s.get(t, http.DefaultClient, "http://"+s.plain+"/readyz")
		ready = strings.Contains(body, `"status":"ready"`)
		require.Less(t, time.Since(started), time.Minute, body)
	}
	return s
}

// client returns a client that uses only the given version of HTTP.
func (s *secure) client(t *testing.T, version int) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost"}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(version == 1)
	transport.Protocols.SetHTTP2(version == 2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (s *secure) get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	s := startSecure(t, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto")) }))
	for version := 1; version <= 2; version++ {
		resp, body := s.get(t, s.client(t, version), "https://"+s.https+"/orders")
		require.Equal(t, version, resp.ProtoMajor)
		require.Equal(t, "https", body)
		require.Equal(t, "max-age=31536000; includeSubDomains", resp.Header.Get("Strict-Transport-Security"))
	}
	resp, body := s.get(t, http.DefaultClient, "http://"+s.plain+"/orders")
	require.Equal(t, "http", body)
	require.Empty(t, resp.Header.Get("Strict-Transport-Security"))
	resp, body = s.get(t, http.DefaultClient, "http://"+s.https+"/orders")
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, body, "HTTPS")
	_, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}).DialContext(t.Context(), "tcp", s.https)
	require.ErrorContains(t, err, "protocol version")
}

// A stream over TLS ends as soon as its client disconnects, whatever the version of HTTP.
func TestStreamsOverTLS(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			t.Parallel()
			disconnected := make(chan struct{})
			s := startSecure(t, serveAt(t, "127.0.0.1:0", events(nil, disconnected)))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.https+"/orders/events", http.NoBody)
			require.NoError(t, err)
			resp, err := s.client(t, version).Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, version, resp.ProtoMajor)
			line, err := bufio.NewReader(resp.Body).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "data: first\n", line)
			leave()
			<-disconnected
		})
	}
}

// Over HTTP/2, neither the time limit of responses nor that of the last write ends a stream
// while nothing is written.
func TestIdleStreamOverHTTP2StaysOpen(t *testing.T) {
	t.Parallel()
	cert, err := tls.LoadX509KeyPair(tlstest.NewCA(t).Issue(t, t.TempDir(), "gateway"))
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		engine := gin.New()
		engine.GET("/", func(c *gin.Context) {
			st := stream{client: flushingWriter{c.Writer}}
			_ = st.write(nil)
			for range 3 {
				<-time.After(time.Hour)
				_ = st.write([]byte("data"))
			}
		})
		client, server := net.Pipe()
		l := &once{conns: make(chan net.Conn, 1)}
		l.conns <- tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		srv := &http.Server{Handler: engine, WriteTimeout: 45 * time.Second}
		go func() { _ = srv.Serve(l) }()
		transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			return c, c.HandshakeContext(ctx)
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://gateway/", http.NoBody)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "datadatadata", string(body))
		require.NoError(t, resp.Body.Close())
		transport.CloseIdleConnections()
		require.NoError(t, srv.Close())
	})
}

// once is a listener with a fixed number of connections.
type once struct{ conns chan net.Conn }

func (l *once) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *once) Close() error { close(l.conns); return nil }

func (l *once) Addr() net.Addr { return &net.UnixAddr{Name: "once", Net: "unix"} }

// A renewed certificate is used without a restart. While only one of the two files is new, or
// one of them is missing, the previous certificate is used.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	ca, dir := tlstest.NewCA(t), t.TempDir()
	certFile, keyFile := ca.Issue(t, dir, "first")
	cfg := tlsConfig{Addr: ":443", CertFile: certFile, KeyFile: keyFile}
	require.NoError(t, cfg.validate())
	var log bytes.Buffer
	get := cfg.server(slog.New(slog.NewTextHandler(&log, nil))).GetCertificate
	name := func() string {
		t.Helper()
		c, err := get(&tls.ClientHelloInfo{})
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		require.NoError(t, err)
		return leaf.DNSNames[0]
	}
	require.Equal(t, "first", name())

	newCert, newKey := ca.Issue(t, t.TempDir(), "second")
	require.NoError(t, os.Rename(newCert, certFile))
	require.Equal(t, "first", name())
	require.Equal(t, "first", name())
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("cannot read the new certificate")), &log)
	require.NoError(t, os.Rename(newKey, keyFile))
	require.Equal(t, "second", name())
	require.NoError(t, os.Remove(keyFile))
	require.Equal(t, "second", name())
}

func TestCertificateIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	require.NoError(t, tlsConfig{CertFile: missing}.validate(), "HTTPS is off")
	require.ErrorContains(t, tlsConfig{Addr: ":443", CertFile: missing, KeyFile: missing}.validate(), "TLS_CERT_FILE")
}

// A stream over HTTP/2 does not count as a request in flight either.
func TestStreamsOverHTTP2DoNotCountAsInFlight(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/orders/events" {
			events(release, nil)(w, r)
		}
	})
	defer close(release)
	s := startSecure(t, b, "MAX_IN_FLIGHT", "1")
	c := s.client(t, 2)
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.https+"/orders/events", http.NoBody)
		require.NoError(t, err)
		resp, err := c.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	resp, body := s.get(t, c, "https://"+s.https+"/orders")
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
}
