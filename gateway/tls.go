package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/gin-gonic/gin"
)

// tlsConfig is the part of the configuration that is used for HTTPS.
type tlsConfig struct {
	Addr     string `env:"HTTPS_ADDR" envDefault:"" usage:"address of the API over HTTPS; none if empty"`
	CertFile string `env:"TLS_CERT_FILE" envDefault:"" usage:"file with the certificate of HTTPS_ADDR and its chain, in PEM format; it is read again when it changes"`
	KeyFile  string `env:"TLS_KEY_FILE" envDefault:"" usage:"file with the key of that certificate"`
}

func (c tlsConfig) validate() error {
	if c.Addr == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
		return fmt.Errorf("TLS_CERT_FILE and TLS_KEY_FILE: %w", err)
	}
	return nil
}

// server returns the configuration of the listener.
func (c tlsConfig) server(log *slog.Logger) *tls.Config {
	cert := &certificate{files: c, log: log}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: cert.get}
}

// certificate is a certificate whose files are replaced when it is renewed.
type certificate struct {
	files tlsConfig
	log   *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    [2]os.FileInfo // the files that were read last
}

// get returns the certificate for a handshake. If its files have changed, it reads them again.
// If they do not match, because only one of them has been replaced so far, the previous
// certificate is used until they change again.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, err := c.files.stat()
	if c.current != nil && (err != nil || unchanged(files[0], c.read[0]) && unchanged(files[1], c.read[1])) {
		return c.current, nil
	}
	c.read = files
	read, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		if c.current == nil {
			return nil, err
		}
		c.log.WarnContext(hello.Context(), "tls: cannot read the new certificate, using the previous one until the files change", "error", err)
		return c.current, nil
	}
	if c.current != nil {
		c.log.InfoContext(hello.Context(), "tls: new certificate", "expires", read.Leaf.NotAfter)
	}
	c.current = &read
	return c.current, nil
}

func (c tlsConfig) stat() (files [2]os.FileInfo, err error) {
	cert, errCert := os.Stat(c.CertFile)
	key, errKey := os.Stat(c.KeyFile)
	return [2]os.FileInfo{cert, key}, errors.Join(errCert, errKey)
}

// unchanged reports whether a file is the one that was read. The time alone is not enough: it
// changes in steps of some milliseconds.
func unchanged(file, read os.FileInfo) bool {
	return os.SameFile(file, read) && file.ModTime().Equal(read.ModTime()) && file.Size() == read.Size()
}

// strictTransport is middleware that makes browsers use only HTTPS with this host, for a year.
func strictTransport(c *gin.Context) {
	if c.Request.TLS != nil {
		c.Header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}
