package service

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"unicode/utf8"
)

type attrsKey struct{}

// WithLogAttrs returns a context that adds attrs to every log line, such as request_id or
// message_id. They follow the attributes that ctx already contains.
func WithLogAttrs(ctx context.Context, attrs ...slog.Attr) context.Context {
	old, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return context.WithValue(ctx, attrsKey{}, append(slices.Clip(old), attrs...))
}

// LogContext returns a context with the attributes of ctx and nothing else of it. Work that
// lasts much longer than a request logs with it: the context of a request keeps the memory
// of its connection in use.
func LogContext(ctx context.Context) context.Context {
	return context.WithValue(context.Background(), attrsKey{}, ctx.Value(attrsKey{}))
}

// Many attributes contain what a client has sent, and a client can send a path of 30 kB. An
// error or a stack may be longer, because it may contain the stack of a panic.
const (
	maxLogString = 512     // bytes
	maxLogStack  = 4 << 10 // bytes
)

// NewLogger returns a logger that writes JSON lines to w. Each line contains the service name
// and the attributes of its context (see [WithLogAttrs]). Long values are cut.
func NewLogger(w io.Writer, level slog.Level, name string) *slog.Logger {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: boundAttr})
	return slog.New(contextHandler{h}).With("service", name)
}

type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if attrs, ok := ctx.Value(attrsKey{}).([]slog.Attr); ok {
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

func boundAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() { //nolint:exhaustive // the others are short, or do not come from a client
	case slog.KindString:
		limit := maxLogString
		if a.Key == "stack" {
			limit = maxLogStack
		}
		a.Value = slog.StringValue(cut(a.Value.String(), limit))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(cut(err.Error(), maxLogStack))
		}
	}
	return a
}

// cut shortens s to about limit bytes. It cuts no character in two.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
