package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

func TestCommandWithArguments(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err     error
		code    int
		printed string
	}{
		"success":           {nil, 0, ""},
		"failure":           {errors.New("broken"), 1, "broken"},
		"invalid arguments": {fmt.Errorf("%w: which?", service.ErrUsage), 2, "test dance: invalid arguments: which?"},
		"interrupted":       {context.Canceled, 1, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg config
			var stdout, stderr bytes.Buffer
			p := service.Program{
				Name: "test", Config: &cfg, Frame: &cfg.Service, Stdin: strings.NewReader("music"), Stdout: &stdout,
				Commands: []service.Command{{Name: "dance", RunArgs: func(_ context.Context, _ *slog.Logger, c service.Call) error {
					input, err := io.ReadAll(c.Stdin)
					fmt.Fprint(c.Stdout, c.Args, string(input))
					return errors.Join(err, tc.err)
				}}},
			}
			require.Equal(t, tc.code, p.Run(t.Context(), []string{"dance", "waltz", "-x"}, map[string]string{"SECRET": "x"}, &stderr))
			require.Equal(t, "[waltz -x]music", stdout.String())
			require.Contains(t, stderr.String(), tc.printed)
		})
	}
}
