package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/service/secret"
)

// Config holds the settings that every service reads from its environment. Embed it in
// the service's own configuration, which [Load] fills.
type Config struct {
	HTTPAddr       string        `env:"HTTP_ADDR" envDefault:":8080" usage:"address of the API and the probes"`
	MetricsAddr    string        `env:"METRICS_ADDR" envDefault:":9090" usage:"address of /metrics"`
	LogLevel       slog.Level    `env:"LOG_LEVEL" envDefault:"info" usage:"debug, info, warn or error"`
	Profiling      bool          `env:"PPROF" envDefault:"false" usage:"serve profiles below /debug/pprof/ on METRICS_ADDR, for go tool pprof"`
	MaxConnections int           `env:"MAX_CONNECTIONS" envDefault:"8192" usage:"maximum number of open connections to HTTP_ADDR, without event streams"`
	DrainTimeout   time.Duration `env:"DRAIN_TIMEOUT" envDefault:"15s" usage:"maximum duration of a shutdown, which takes at least 1.2s"`

	// ListenFunc opens the listeners. If nil, [Listen] is used.
	// Tests return listeners that they have already opened.
	ListenFunc func(ctx context.Context, addr string) (net.Listener, error)
	// RegistryFunc, if not nil, receives the registry when all metrics are registered. Tests
	// compare it with the documentation.
	RegistryFunc func(*prometheus.Registry)
}

// Listen opens the listeners for [Config.ServeAPI] and [Config.ServeMetrics], both or neither.
// Called before [Run], it reports a port that is in use before any part starts.
func (c Config) Listen(ctx context.Context) (api, metrics net.Listener, err error) {
	if api, err = c.ListenAt(ctx, c.HTTPAddr); err != nil {
		return nil, nil, err
	}
	if metrics, err = c.ListenAt(ctx, c.MetricsAddr); err != nil {
		return nil, nil, errors.Join(err, api.Close())
	}
	return api, metrics, nil
}

// ListenAt opens a listener for another address.
func (c Config) ListenAt(ctx context.Context, addr string) (net.Listener, error) {
	if c.ListenFunc != nil {
		return c.ListenFunc(ctx, addr)
	}
	return Listen(ctx, addr)
}

// Validate reports all invalid values at once.
func (c Config) Validate() error {
	var errs []error
	if c.HTTPAddr == c.MetricsAddr {
		errs = append(errs, fmt.Errorf("HTTP_ADDR and METRICS_ADDR are both %q", c.HTTPAddr))
	}
	if c.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("MAX_CONNECTIONS is %d: it must be positive", c.MaxConnections))
	}
	if c.DrainTimeout <= 0 {
		errs = append(errs, fmt.Errorf("DRAIN_TIMEOUT is %s: it must be positive", c.DrainTimeout))
	}
	return errors.Join(errs...)
}

// Environ returns the environment of the process in the form that [Load] expects.
func Environ() map[string]string { return env.ToMap(os.Environ()) }

// Load fills cfg, a pointer to a struct with `env` tags, from environ, and calls its
// Validate method if it has one. The error names every variable that is missing or invalid.
// A URL, which may contain a password, can be given as a file: X_URL_FILE instead of X_URL.
func Load(environ map[string]string, cfg any) error {
	environ, err := readURLs(environ, reflect.TypeOf(cfg).Elem())
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if err := env.ParseWithOptions(cfg, env.Options{Environment: environ}); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if v, ok := cfg.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("environment: %w", err)
		}
	}
	return nil
}

// readURLs returns environ with the content of the files that contain URLs.
func readURLs(environ map[string]string, cfg reflect.Type) (map[string]string, error) {
	environ = maps.Clone(environ)
	var errs []error
	for name := range variables(cfg, "") {
		file := environ[name+"_FILE"]
		if !strings.HasSuffix(name, "_URL") || file == "" {
			continue
		}
		if environ[name] != "" {
			errs = append(errs, fmt.Errorf("%[1]s and %[1]s_FILE are both set", name))
			continue
		}
		url, err := secret.ReadFile(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s_FILE: %w", name, err))
			continue
		}
		environ[name] = url
	}
	return environ, errors.Join(errs...)
}

// usage prints the subcommands of a program and the environment variables of cfg, a
// pointer to its configuration.
func usage(w io.Writer, program string, cfg any, commands []Command) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	fmt.Fprintf(tw, "Usage: %s [command]\n\nCommands:\n  (none)\tserve\n", program)
	for _, c := range commands {
		fmt.Fprintf(tw, "  %s\t%s\n", c.Name, c.Usage)
	}
	fmt.Fprint(tw, "  help\tprint this text\n\nEnvironment:\n")
	for name, tag := range variables(reflect.TypeOf(cfg).Elem(), "") {
		note := "required"
		if def, ok := tag.Lookup("envDefault"); ok {
			note = "default " + def
		}
		if strings.HasSuffix(name, "_URL") {
			name += "[_FILE]"
		}
		fmt.Fprintf(tw, "  %s\t%s\t(%s)\n", name, tag.Get("usage"), note)
	}
}

// variables iterates over the environment variables of a configuration.
func variables(cfg reflect.Type, prefix string) iter.Seq2[string, reflect.StructTag] {
	return func(yield func(string, reflect.StructTag) bool) {
		for f := range cfg.Fields() {
			if name, ok := f.Tag.Lookup("env"); ok {
				name, _, _ = strings.Cut(name, ",")
				if !yield(prefix+name, f.Tag) {
					return
				}
			} else if f.Type.Kind() == reflect.Struct {
				for name, tag := range variables(f.Type, prefix+f.Tag.Get("envPrefix")) {
					if !yield(name, tag) {
						return
					}
				}
			}
		}
	}
}
