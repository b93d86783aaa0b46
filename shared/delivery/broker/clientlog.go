package broker

import (
	"context"
	"fmt"
	"log/slog"
)

// clientLog forwards the log of the client library at lower levels, because the reconnector
// logs the end of each session.
//
// The library calls Errorf when the broker closes a channel or cancels a consumer, for
// example because its queue was deleted, and then starts to recover. It reports this in no
// other way. Since a session is not repaired, Errorf ends it by calling endSession.
type clientLog struct {
	log        *slog.Logger
	endSession func()
}

func (l clientLog) forward(level slog.Level, format string, args []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "broker: client library", "line", fmt.Sprintf(format, args...))
	}
}

func (l clientLog) Errorf(f string, a ...any) {
	l.forward(slog.LevelInfo, f, a)
	l.endSession()
}

func (l clientLog) Fatalf(f string, a ...any) { l.forward(slog.LevelError, f, a) }
func (l clientLog) Warnf(f string, a ...any)  { l.forward(slog.LevelDebug, f, a) }
func (l clientLog) Infof(f string, a ...any)  { l.forward(slog.LevelDebug, f, a) }
func (l clientLog) Debugf(f string, a ...any) { l.forward(slog.LevelDebug, f, a) }
