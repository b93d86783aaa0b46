package service_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

// What a client sends does not fill the log.
func TestLogLinesAreBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	url, stop := serve(t, &log, &service.Health{}, func(e *gin.Engine) {
		e.GET("/panic", func(c *gin.Context) { panic(c.Query("cause")) })
	})
	long := strings.Repeat("ä", 5000) // 30 kB in a URL
	for _, path := range []string{"/" + long, "/panic?cause=" + long} {
		resp, _ := get(t, http.MethodGet, url+path, "")
		require.GreaterOrEqual(t, resp.StatusCode, 400)
	}
	require.NoError(t, stop())
	logger := service.NewLogger(&log, slog.LevelInfo, "test").With("first", long).WithGroup("group")
	logger.InfoContext(service.WithLogAttrs(t.Context(), slog.String("x", long)), "message", "error", errors.New(long), "nested", slog.GroupValue(slog.String("y", long)))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 4)
	for _, line := range lines {
		require.Less(t, len(line), 8<<10)
		require.True(t, utf8.ValidString(line))
		require.NotContains(t, line, `\ufffd`)
	}
	require.Less(t, len(lines[0]), 1<<10)
	require.Contains(t, lines[0], "…")
}
